#include "libclient/owned_names.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct es_owned_name *first; /* under lock, as is what is in the entries */

void es_owned_names_add(struct es_owned_name *entry, const char *name)
{
    if (name[0] == '\0') {
        return;
    }
    pthread_mutex_lock(&lock);
    *entry = (struct es_owned_name){.next = first, .name = name};
    first = entry;
    pthread_mutex_unlock(&lock);
}

void es_owned_names_set(struct es_owned_name *entry, uint64_t incarnation)
{
    pthread_mutex_lock(&lock);
    entry->incarnation = incarnation;
    pthread_mutex_unlock(&lock);
}

void es_owned_names_remove(const struct es_owned_name *entry)
{
    pthread_mutex_lock(&lock);
    for (struct es_owned_name **at = &first; *at != NULL; at = &(*at)->next) {
        if (*at == entry) {
            *at = entry->next;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}

bool es_owned_names_has(const char *name, uint64_t incarnation)
{
    bool is_found = false;

    pthread_mutex_lock(&lock);
    for (const struct es_owned_name *at = first; at != NULL && !is_found; at = at->next) {
        is_found =
            strcmp(at->name, name) == 0 && (at->incarnation == 0 || at->incarnation == incarnation);
    }
    pthread_mutex_unlock(&lock);
    return is_found;
}

void es_owned_names_forget_process(void)
{
    pthread_mutex_init(&lock, NULL); /* another thread may have held it */
    first = NULL;
}
