/*
 * Probes: names for the instants at which another process, or the disk, has just
 * been shown something. A probe is one nop in the code and a note in the ELF file
 * (section .note.stapsdt, the format of <sys/sdt.h>) that tells its name and place:
 * bpftrace, perf and gdb stop there in a process that runs, and tests/torture kills
 * there. docs/probes.md says what each name means.
 *
 * Not <sys/sdt.h> itself: building would need one more package, and its probes may
 * be moved by the compiler past the stores that they are to come after.
 */
#ifndef ES_SHM_PROBE_H
#define ES_SHM_PROBE_H

#if defined(__x86_64__) || defined(__aarch64__)

/*
 * 'name' is a C identifier without quotes. Everything before it in the program is
 * done before it, as far as the compiler decides: hence "memory". The note holds
 * three addresses (probe, base, semaphore: none) and three texts (provider, name,
 * arguments: none); the base lets a reader undo what prelinking moved.
 */
#define ES_PROBE(name)                                                                           \
    __asm__ __volatile__("990: nop\n"                                                            \
                         ".pushsection .note.stapsdt,\"\",\"note\"\n"                            \
                         ".balign 4\n"                                                           \
                         ".4byte 992f-991f, 994f-993f, 3\n"                                      \
                         "991: .asciz \"stapsdt\"\n"                                             \
                         "992: .balign 4\n"                                                      \
                         "993: .8byte 990b, _.stapsdt.base, 0\n"                                 \
                         ".asciz \"eventspine\"\n"                                               \
                         ".asciz \"" #name "\"\n"                                                \
                         ".asciz \"\"\n"                                                         \
                         "994: .balign 4\n"                                                      \
                         ".popsection\n"                                                         \
                         ".ifndef _.stapsdt.base\n"                                              \
                         ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
                         ".weak _.stapsdt.base\n"                                                \
                         ".hidden _.stapsdt.base\n"                                              \
                         "_.stapsdt.base: .space 1\n"                                            \
                         ".size _.stapsdt.base, 1\n"                                             \
                         ".popsection\n"                                                         \
                         ".endif\n"                                                              \
                         :                                                                       \
                         :                                                                       \
                         : "memory")

#else /* another machine: no notes, and nothing can stop there */

#define ES_PROBE(name) __asm__ __volatile__("" : : : "memory")

#endif

#endif
