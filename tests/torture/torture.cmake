# What torture.py runs: clients and their checker, and what kills a broker at a probe.
add_library(torture_parts STATIC torture/book.c torture/ending.c torture/plan.c torture/kill_point.c
    torture/sender.c torture/visitor.c)
target_link_libraries(torture_parts PUBLIC eventspine_static)
foreach(program appender asker follower herd)
    add_executable(torture_${program} torture/${program}.c)
    target_link_libraries(torture_${program} PRIVATE torture_parts)
endforeach()
add_executable(torture_check torture/check.c torture/check_books.c torture/check_store.c
    torture/check_rules.c torture/check_plants.c)
target_link_libraries(torture_check PRIVATE torture_parts)
add_library(torture_kill_broker MODULE torture/kill_broker.c torture/kill_point.c)
set_target_properties(torture_kill_broker PROPERTIES PREFIX "")
foreach(target torture_appender torture_asker torture_follower torture_herd torture_check
        torture_kill_broker)
    set_target_properties(${target} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/torture
        LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/torture)
endforeach()
