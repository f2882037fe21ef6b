#include "tests/support/client_fixture.h"

#include <stdlib.h>

#include "tests/support/fake_broker_state.h"

int client_fixture_setup(void **state)
{
    struct es_connection_options options = {.client_name = "test",
                                            .timeout_ns = FIXTURE_PATIENCE_NS};
    struct client_fixture *f = calloc(1, sizeof *f);

    fake_require(f != NULL, "no memory");
    temp_directory_make_tmpfs(f->run_dir);
    f->broker = fake_broker_start(f->run_dir, 1);
    options.run_dir = f->run_dir;
    fake_require(es_connection_open(&options, &f->connection) == ES_OK, "no connection");
    *state = f;
    return 0;
}

int client_fixture_teardown(void **state)
{
    struct client_fixture *f = *state;

    es_connection_close(f->connection);
    if (f->broker != NULL) {
        fake_broker_stop(f->broker);
    }
    temp_directory_remove(f->run_dir);
    free(f);
    return 0;
}

void client_fixture_restart(struct client_fixture *f, uint64_t start_number)
{
    fake_broker_stop(f->broker);
    f->broker = fake_broker_start(f->run_dir, start_number);
}
