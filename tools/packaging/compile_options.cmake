# How every file of the project is compiled and linked.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# Assertions stay on in every build type: no NDEBUG anywhere.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

add_compile_definitions(_GNU_SOURCE ES_VERSION_TEXT="${PROJECT_VERSION}")
add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -fno-common -fstack-protector-strong)
add_link_options(-Wl,--as-needed -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
if(ES_WERROR)
    add_compile_options(-Werror)
endif()

if(ES_FUZZ AND NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "ES_FUZZ needs clang's libFuzzer: use the preset clang-fuzz")
endif()
if(ES_SANITIZE)
    add_compile_options(-fsanitize=${ES_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${ES_SANITIZE})
endif()
if(ES_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(ES_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic -O0) # threads count too
    add_link_options(--coverage)
endif()

# The fortified functions need an optimising build, and hide calls from the sanitizers.
if(NOT ES_SANITIZE AND NOT ES_COVERAGE)
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()

find_program(ES_CCACHE ccache)
if(ES_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER ${ES_CCACHE})
endif()
