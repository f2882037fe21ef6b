# The libraries, found the same way on Debian 12, Debian 13 and Ubuntu 24.04. Each becomes one
# imported target es_dep::NAME, and who links which one decides who may use it:
#   msgpack, b2   es_shm (only shm/codec/ includes them)
#   nng           the tests alone, as the reference for what goes over the sockets
#   rocksdb       broker_core (only store_rocksdb.c)
#   systemd       broker_core
#   jansson       esctl
#   uthash        a header only: hash tables of broker_core
find_package(Threads REQUIRED)

# es_find_library(NAME HEADER PACKAGE LIBRARY-NAME...): by header and library, because the names of
# the .pc and CMake packages differ between the distributions.
function(es_find_library name header package)
    string(TOUPPER ES_${name} prefix)
    find_path(${prefix}_INCLUDE_DIR ${header})
    find_library(${prefix}_LIBRARY NAMES ${ARGN})
    mark_as_advanced(${prefix}_INCLUDE_DIR ${prefix}_LIBRARY)
    if(NOT ${prefix}_INCLUDE_DIR OR NOT ${prefix}_LIBRARY)
        message(FATAL_ERROR
            "${header} or its library is missing: install ${package}, or run ./tools/setup")
    endif()
    add_library(es_dep::${name} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(es_dep::${name} PROPERTIES
        IMPORTED_LOCATION ${${prefix}_LIBRARY}
        INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${${prefix}_INCLUDE_DIR}")
endfunction()

# Debian 12 calls the C library of MessagePack msgpackc, newer ones msgpack-c.
es_find_library(msgpack msgpack.h "libmsgpack-c-dev (Debian 12: libmsgpack-dev)" msgpack-c msgpackc)
es_find_library(b2 blake2.h libb2-dev b2)
es_find_library(rocksdb rocksdb/c.h librocksdb-dev rocksdb)
es_find_library(systemd systemd/sd-daemon.h libsystemd-dev systemd)
es_find_library(jansson jansson.h libjansson-dev jansson)

find_path(ES_UTHASH_INCLUDE_DIR uthash.h)
mark_as_advanced(ES_UTHASH_INCLUDE_DIR)
if(NOT ES_UTHASH_INCLUDE_DIR)
    message(FATAL_ERROR "uthash.h is missing: install uthash-dev, or run ./tools/setup")
endif()
