#include "tests/torture/kill_point.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__aarch64__)
static const uint32_t trap = 0xd4200000; /* brk #0 */
#else
static const uint8_t trap = 0xcc; /* int3 */
#endif

enum {
    NOTE_ADDRESSES = 3 /* probe, base, semaphore; then the provider's text and the probe's */
};

struct image {
    const uint8_t *bytes; /* of the program's file */
    size_t size;
    uintptr_t moved_by; /* where it is loaded, less where it was linked */
};

static _Atomic uint32_t hits_left;
static bool is_hold;

static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    if (atomic_fetch_sub(&hits_left, 1) == 1) {
        if (!is_hold) {
            kill(getpid(), SIGKILL);
        }
        for (;;) {
            pause();
        }
    }
#if defined(__aarch64__)
    ((ucontext_t *)context)->uc_mcontext.pc += sizeof trap; /* on over the nop that was there */
#else
    (void)context;                /* int3 is as long as the nop, and done */
#endif
}

static int find_program(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    *(uintptr_t *)context = (uintptr_t)info->dlpi_addr;
    return 1; /* the first one is the program */
}

static bool map_program(struct image *ret_image)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat about;
    void *bytes = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &about) == 0) {
        bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (bytes == MAP_FAILED) {
        return false;
    }
    *ret_image = (struct image){.bytes = bytes, .size = (size_t)about.st_size};
    dl_iterate_phdr(find_program, &ret_image->moved_by);
    return true;
}

static const Elf64_Shdr *find_section(const struct image *image, const char *name)
{
    const Elf64_Ehdr *file = (const void *)image->bytes;
    const Elf64_Shdr *sections = (const void *)(image->bytes + file->e_shoff);
    const char *names = (const char *)image->bytes + sections[file->e_shstrndx].sh_offset;

    for (uint32_t i = 0; i < file->e_shnum; i++) {
        if (strcmp(names + sections[i].sh_name, name) == 0) {
            return &sections[i];
        }
    }
    return NULL;
}

static size_t aligned(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

static bool set_trap(int memory_fd, uintptr_t address)
{
    return pwrite(memory_fd, &trap, sizeof trap, (off_t)address) == (ssize_t)sizeof trap;
}

/* How many places were armed; -1: one could not be. */
static int arm_all(const struct image *image, int memory_fd, const char *probe)
{
    const Elf64_Shdr *notes = find_section(image, ".note.stapsdt");
    const Elf64_Shdr *base = find_section(image, ".stapsdt.base");
    size_t at = 0;
    int count = 0;

    if (notes == NULL || base == NULL) {
        return 0;
    }
    while (at + sizeof(Elf64_Nhdr) < notes->sh_size) {
        const Elf64_Nhdr *note = (const void *)(image->bytes + notes->sh_offset + at);
        const uint8_t *body = (const uint8_t *)(note + 1) + aligned(note->n_namesz);
        const char *provider = (const char *)body + NOTE_ADDRESSES * sizeof(uint64_t);
        uint64_t addresses[NOTE_ADDRESSES];

        memcpy(addresses, body, sizeof addresses);
        if (strcmp(provider, "eventspine") == 0 &&
            strcmp(provider + strlen(provider) + 1, probe) == 0) {
            uintptr_t place =
                (uintptr_t)(addresses[0] - addresses[1] + base->sh_addr) + image->moved_by;

            if (!set_trap(memory_fd, place)) {
                return -1;
            }
            count++;
        }
        at += sizeof *note + aligned(note->n_namesz) + aligned(note->n_descsz);
    }
    return count;
}

bool kill_point_arm(const char *probe, uint32_t nth)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    int memory_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    struct image image;
    int count = -1;

    atomic_store(&hits_left, nth);
    sigemptyset(&action.sa_mask);
    if (memory_fd >= 0 && sigaction(SIGTRAP, &action, NULL) == 0 && map_program(&image)) {
        count = arm_all(&image, memory_fd, probe);
        munmap((void *)(uintptr_t)image.bytes, image.size);
    }
    if (memory_fd >= 0) {
        close(memory_fd);
    }
    return count > 0;
}

bool kill_point_arm_hold(const char *probe, uint32_t nth)
{
    is_hold = true;
    return kill_point_arm(probe, nth);
}
