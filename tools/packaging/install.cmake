# What `cmake --install` puts in place besides the programs, so that a program outside this tree finds
# the library: by pkg-config, by find_package(eventspine), or by hand. Any --prefix works, also one
# that is only known at installation.
include(CMakePackageConfigHelpers)

install(TARGETS eventspine_static eventspine_shared
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/libclient/eventspine.h
    ${PROJECT_SOURCE_DIR}/libclient/eventspine_producer.h
    ${PROJECT_SOURCE_DIR}/shm/eventspine_status.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

cmake_path(GET ES_MSGPACK_LIBRARY STEM es_msgpack_name)
string(REGEX REPLACE "^lib" "" es_msgpack_name ${es_msgpack_name})
file(RELATIVE_PATH es_prefix_from_pkgconfig
    /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)

set(es_generated ${PROJECT_BINARY_DIR}/packaging)
configure_file(${CMAKE_CURRENT_LIST_DIR}/eventspine.pc.in ${es_generated}/eventspine.pc @ONLY)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/eventspine-config.cmake.in
    ${es_generated}/eventspine-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/eventspine
    PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${es_generated}/eventspine-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${es_generated}/eventspine.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${es_generated}/eventspine-config.cmake ${es_generated}/eventspine-config-version.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/eventspine)

file(GLOB es_man_pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/man/*.1
    ${PROJECT_SOURCE_DIR}/tools/man/*.7)
foreach(page ${es_man_pages})
    cmake_path(GET page EXTENSION LAST_ONLY section)
    string(SUBSTRING ${section} 1 1 section)
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
