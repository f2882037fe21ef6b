/*
 * Producers that come and go: keeps some lives of visitor.h going at a time, ends them
 * in their many ways, and writes down each death. The torture's driver starts it beside
 * the residents, who must not notice.
 *
 * herd RUN_DIR BOOK_DIR FIRST_CLIENT SEED COUNT PER_SECOND PROBES
 *
 * Until COUNT have lived, or SIGTERM; at most PER_SECOND are born. PROBES: names with
 * commas between them. At the end a line "KIND COUNT" for each kind of end that was
 * reached, and "probe NAME COUNT".
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/torture/ending.h"
#include "tests/torture/plan.h"
#include "tests/torture/visitor.h"

enum {
    SLOTS = 6,
    PROBES_MAX = 32,
    NTH_MAX = 12,
    BOOK_ENTRIES_MAX = 1 << 20,
    LIFE_MS_MAX = 20000 /* longer than that, and something hangs */
};

#define NS_PER_MS UINT64_C(1000000)

struct slot {
    struct book book;
    struct visitor visitor;
    pid_t pid; /* 0: nobody lives here */
    uint64_t born_ns;
    uint64_t hit_ns; /* when to kill or stop it; 0: never, or done */
    bool is_killed;  /* by us */
    bool is_stopped;
    uint32_t probe;
    char name[24];
};

struct herd {
    const char *run_dir;
    uint64_t random;
    uint32_t client_next;
    uint64_t left;
    uint64_t pause_ns; /* from one birth to the next, at least */
    uint64_t last_born_ns;
    char *probes[PROBES_MAX];
    uint32_t probe_count;
    uint64_t probe_hits[PROBES_MAX];
    uint64_t ends[VISITOR_ENDS];
    uint64_t without_broker;
    struct slot slots[SLOTS];
};

static void be_born(struct herd *herd, struct slot *slot)
{
    struct visitor *visitor = &slot->visitor;
    uint64_t now_ns = book_now_ns();

    *visitor = (struct visitor){.run_dir = herd->run_dir,
                                .book = &slot->book,
                                .client = herd->client_next++,
                                .random = plan_random(&herd->random)};
    visitor->end = (enum visitor_end)(plan_random(&herd->random) % VISITOR_ENDS);
    if (plan_random(&herd->random) % 3 == 0) {
        visitor->end = VISITOR_KILL_POINT;
    }
    slot->probe = (uint32_t)(plan_random(&herd->random) % herd->probe_count);
    visitor->probe = herd->probes[slot->probe];
    visitor->nth = plan_random(&herd->random) % 2 == 0
                       ? 1
                       : 1 + (uint32_t)(plan_random(&herd->random) % NTH_MAX);
    if (plan_random(&herd->random) % 4 == 0) { /* who lived in this slot before, had it too */
        visitor->name = slot->name;
        visitor->takes_over = plan_random(&herd->random) % 2 == 0;
    }
    slot->born_ns = now_ns;
    herd->last_born_ns = now_ns;
    slot->is_killed = false;
    slot->is_stopped = false;
    slot->hit_ns = visitor->end == VISITOR_KILLED || visitor->end == VISITOR_STOPPED
                       ? now_ns + plan_random(&herd->random) % (6 * NS_PER_MS)
                       : 0;
    slot->pid = fork();
    if (slot->pid == 0) {
        signal(SIGTERM, SIG_DFL);
        visitor_live(visitor);
    }
    herd->left--;
}

static void note_death(struct herd *herd, struct slot *slot, int status)
{
    struct visitor *visitor = &slot->visitor;
    struct book_entry entry = {.client = visitor->client, .number = visitor->end, .status = status};
    bool was_hit = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

    book_catch_up(&slot->book);
    book_write(&slot->book, BOOK_DIED, &entry);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
        herd->without_broker++;
    } else if (!was_hit && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        fprintf(stderr, "client %u (%s): wait status %#x\n", visitor->client,
                visitor_end_name(visitor->end), (unsigned)status);
        book_write(&slot->book, BOOK_BROKEN, &entry);
    } else if (visitor->end == VISITOR_KILL_POINT && was_hit) {
        herd->probe_hits[slot->probe]++;
        herd->ends[VISITOR_KILL_POINT]++;
    } else if (visitor->end == VISITOR_KILL_POINT || (visitor->end == VISITOR_KILLED && !was_hit)) {
        herd->ends[VISITOR_CLOSED]++; /* its probe was not met so often; it was faster */
    } else {
        herd->ends[visitor->end]++;
    }
    slot->pid = 0;
}

/* Kills or stops it when its time has come. */
static void hit(struct herd *herd, struct slot *slot, uint64_t now_ns)
{
    if (slot->hit_ns == 0 || now_ns < slot->hit_ns) {
        return;
    }
    slot->hit_ns = 0;
    if (slot->visitor.end == VISITOR_KILLED) {
        kill(slot->pid, SIGKILL);
    } else if (slot->is_stopped) {
        kill(slot->pid, SIGCONT);
    } else {
        kill(slot->pid, SIGSTOP);
        slot->is_stopped = true;
        slot->hit_ns = now_ns + plan_random(&herd->random) % (60 * NS_PER_MS);
    }
}

static void look_after(struct herd *herd, struct slot *slot)
{
    uint64_t now_ns = book_now_ns();
    int status = 0;

    if (slot->pid == 0) {
        if (!is_stopping && herd->left > 0 && now_ns - herd->last_born_ns >= herd->pause_ns) {
            be_born(herd, slot);
        }
        return;
    }
    if (waitpid(slot->pid, &status, WNOHANG) == slot->pid) {
        note_death(herd, slot, status);
        return;
    }
    hit(herd, slot, now_ns);
    if (now_ns - slot->born_ns > LIFE_MS_MAX * NS_PER_MS) {
        fprintf(stderr, "client %u (%s) hangs\n", slot->visitor.client,
                visitor_end_name(slot->visitor.end));
        kill(slot->pid, SIGABRT);
    }
}

static bool somebody_lives(const struct herd *herd)
{
    for (int i = 0; i < SLOTS; i++) {
        if (herd->slots[i].pid != 0) {
            return true;
        }
    }
    return false;
}

static void report(const struct herd *herd)
{
    for (int i = 0; i < VISITOR_ENDS; i++) {
        printf("%s %llu\n", visitor_end_name((enum visitor_end)i),
               (unsigned long long)herd->ends[i]);
    }
    printf("without a broker %llu\n", (unsigned long long)herd->without_broker);
    for (uint32_t i = 0; i < herd->probe_count; i++) {
        printf("probe %s %llu\n", herd->probes[i], (unsigned long long)herd->probe_hits[i]);
    }
}

int main(int argc, char **argv)
{
    static struct herd herd;
    char path[4096];

    if (argc != 8) {
        return 64;
    }
    ending_listen();
    herd.run_dir = argv[1];
    herd.client_next = (uint32_t)strtoul(argv[3], NULL, 10);
    herd.random = strtoull(argv[4], NULL, 10);
    herd.left = strtoull(argv[5], NULL, 10);
    herd.pause_ns = 1000000000U / strtoull(argv[6], NULL, 10);
    for (char *at = argv[7]; *at != '\0' && herd.probe_count < PROBES_MAX;) {
        size_t size = strcspn(at, ",");

        herd.probes[herd.probe_count++] = at;
        at += size;
        if (*at == ',') {
            *at++ = '\0';
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        snprintf(path, sizeof path, "%s/herd-%d-%u.book", argv[2], i, herd.client_next);
        book_open(path, BOOK_ENTRIES_MAX, &herd.slots[i].book);
        snprintf(herd.slots[i].name, sizeof herd.slots[i].name, "slot-%d", i);
    }
    while ((!is_stopping && herd.left > 0) || somebody_lives(&herd)) {
        for (int i = 0; i < SLOTS; i++) {
            look_after(&herd, &herd.slots[i]);
        }
        (void)poll(NULL, 0, 1);
    }
    report(&herd);
    return 0;
}
