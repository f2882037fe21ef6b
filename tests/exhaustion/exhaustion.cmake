# A library that makes calls fail, a program that makes every call of libeventspine, and libraries with
# a mistake planted that such a failure must bring to light.
set(exhaustion_output ${PROJECT_BINARY_DIR}/tests/exhaustion)
add_library(faults MODULE exhaustion/faults.c)
set_target_properties(faults PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${exhaustion_output})
target_compile_options(faults PRIVATE -U_FORTIFY_SOURCE -fvisibility=default
    -Wno-missing-prototypes -Wno-pedantic)
target_link_libraries(faults PRIVATE ${CMAKE_DL_LIBS})

file(GLOB client_sources CONFIGURE_DEPENDS exhaustion/client*.c exhaustion/story.c)
add_executable(exhaustion_client ${client_sources})
set_target_properties(exhaustion_client PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${exhaustion_output})
target_link_libraries(exhaustion_client PRIVATE eventspine_shared ${CMAKE_DL_LIBS})

# es_planted_client(BUG FILE TEXT REPLACEMENT): libeventspine with FILE broken on purpose
function(es_planted_client bug file text replacement)
    file(READ ${PROJECT_SOURCE_DIR}/${file} code)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${file})
    string(REPLACE "${text}" "${replacement}" changed "${code}")
    if(changed STREQUAL code) # the negative test then fails, and not the build
        message(WARNING "${file} has changed: say anew where to plant ${bug}")
        return()
    endif()
    get_filename_component(name ${file} NAME)
    set(planted ${CMAKE_CURRENT_BINARY_DIR}/exhaustion/planted/${bug}/${name})
    file(GENERATE OUTPUT ${planted} CONTENT "${changed}")
    set(sound $<TARGET_OBJECTS:eventspine_objects>)
    add_library(exhaustion_${bug} SHARED $<TARGET_OBJECTS:es_shm_objects>
        $<FILTER:${sound},EXCLUDE,/${name}.o$> ${planted})
    target_link_libraries(exhaustion_${bug} PRIVATE es_dep::msgpack es_dep::b2 Threads::Threads)
    set_target_properties(exhaustion_${bug} PROPERTIES OUTPUT_NAME eventspine
        SOVERSION ${ES_SOVERSION} LIBRARY_OUTPUT_DIRECTORY ${exhaustion_output}/planted/${bug})
endfunction()
es_planted_client(unchecked_allocation libclient/question.c
    "        if (question == NULL) {
            status = es_fail_no_memory(connection);
            es_connection_drop(connection);
            return status;
        }
" "")
es_planted_client(descriptor_leak libclient/attach.c "    close_descriptors(&grant);
" "    (void)close_descriptors;
")
es_planted_client(lane_kept libclient/attach.c
    "            es_lane_close_unmapped(grant.fds[LANE_DESCRIPTOR]);" "            (void)0;")
es_planted_client(memory_leak libclient/transport.c "        es_socket_close(sock);
        return ES_E_LIMIT;" "        return ES_E_LIMIT;")
es_planted_client(connection_kept libclient/consumer.c "        es_connection_drop(connection);
        return status;" "        return status;")
es_planted_client(silent_failure libclient/question.c
    "        return es_fail(connection, status, \"no socket to ask on: %s\", es_status_text(status));"
    "        return status;")
es_planted_client(sent_and_not_kept libclient/resend.c
    "        return es_fail_no_memory(producer->connection);"
    "        flight->kept_bytes = 0;
        return ES_OK;")
