/*
 * check BOOKS_DIR RUN_DIR         reads the store from the broker there, and judges
 * check BOOKS_DIR RUN_DIR plants SEED
 *                                 the same, then each planted fault, which must be found
 *
 * Prints what it counted, one "name number" a line; exits with 1 if anything is broken.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/torture/check.h"

/* In a child, so that each fault is planted into the same, sound run. */
static int try_plant(struct torture *torture, int number, uint64_t random)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        torture->is_quiet = true;
        if (!plant(torture, number, random)) {
            _exit(2);
        }
        rules_check(torture);
        _exit(torture->violations > 0 ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        return 1;
    }
    return WEXITSTATUS(status);
}

static int try_plants(struct torture *torture, uint64_t random)
{
    static const char *const answers[] = {"caught", "NOT CAUGHT", "nothing to plant it into"};
    int missed = 0;

    fflush(stdout);
    for (int i = 0; i < PLANT_COUNT; i++) {
        uint64_t begun_ns = book_now_ns();
        int answer = try_plant(torture, i, plan_random(&random));

        printf("planted: %s: %s, %" PRIu64 " ms\n", plant_name(i), answers[answer > 2 ? 1 : answer],
               (book_now_ns() - begun_ns) / 1000000);
        missed += answer != 0;
    }
    return missed;
}

/* As it was read: a rule leaves its marks on the deeds. */
static void forget_judgement(struct torture *torture)
{
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        torture->accounts[client].last_stored = 0;
        for (uint64_t i = 0; i < torture->accounts[client].count; i++) {
            torture->accounts[client].deeds[i].stored_first = 0;
            torture->accounts[client].deeds[i].stored_count = 0;
        }
    }
}

int main(int argc, char **argv)
{
    static struct torture torture;
    uint64_t violations = 0;
    int missed = 0;

    if (argc != 3 && (argc != 5 || strcmp(argv[3], "plants") != 0)) {
        return 64;
    }
    books_read(&torture, argv[1]);
    store_read(&torture, argv[2]);
    rules_check(&torture);
    rules_report(&torture);
    violations = torture.violations;
    if (argc == 5 && violations == 0) {
        forget_judgement(&torture);
        missed = try_plants(&torture, strtoull(argv[4], NULL, 10));
    }
    printf("violations %" PRIu64 "\nmissed %d\n", violations, missed);
    return violations == 0 && missed == 0 ? 0 : 1;
}
