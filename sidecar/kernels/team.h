/* A few threads that do numbered tasks together.
 *
 * One word, the ticket, says which job is on, how many tasks it has and which
 * comes next, so that a thread takes a task with one compare-and-swap and a
 * thread that comes late takes none. A job is over when its tasks are done,
 * not when every thread has noticed it: one that the system has put aside
 * between two tasks holds nobody up.
 */
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>

typedef void (*task_function)(void *job, int task, int worker);

typedef struct team {
    uint64_t ticket; /* job number << 40 | tasks << 20 | next task */
    int done;
    int active, stopping;
    task_function function;
    void *job;
    uint64_t number;
    int threads; /* the caller's own included */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t *others;
} team;

typedef struct {
    team *of;
    int number;
} worker;

enum { TASK_BITS = 20, MOST_TASKS = 1 << TASK_BITS, SPINS_ASLEEP = 4000, SPINS_YIELD = 64 };

#define NEXT_TASK(ticket) ((int)((ticket) & (MOST_TASKS - 1)))
#define TASKS(ticket) ((int)((ticket) >> TASK_BITS & (MOST_TASKS - 1)))

/* Do one task if there is one; tell whether there was. */
static int team_step(team *t, int self) {
    uint64_t ticket = __atomic_load_n(&t->ticket, __ATOMIC_ACQUIRE);
    if (NEXT_TASK(ticket) >= TASKS(ticket))
        return 0;
    if (__atomic_compare_exchange_n(&t->ticket, &ticket, ticket + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        /* The next job is not published before this task is done, so these are this job's. */
        t->function(t->job, NEXT_TASK(ticket), self);
        __atomic_add_fetch(&t->done, 1, __ATOMIC_RELEASE);
    }
    return 1;
}

static void team_pause(int spins) {
    __builtin_ia32_pause();
    if (spins % SPINS_YIELD == 0)
        sched_yield();
}

static void *team_work(void *given) {
    worker self = *(worker *)given;
    team *t = self.of;
    free(given);
    for (int spins = 1;; spins++) {
        if (team_step(t, self.number)) {
            spins = 0;
            continue;
        }
        if (__atomic_load_n(&t->stopping, __ATOMIC_ACQUIRE))
            return NULL;
        if (spins < SPINS_ASLEEP || __atomic_load_n(&t->active, __ATOMIC_ACQUIRE)) {
            team_pause(spins);
            continue;
        }
        pthread_mutex_lock(&t->lock);
        while (!t->active && !t->stopping)
            pthread_cond_wait(&t->wake, &t->lock);
        pthread_mutex_unlock(&t->lock);
        spins = 0;
    }
}

static void team_set(team *t, int *flag, int value) {
    pthread_mutex_lock(&t->lock);
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
    if (value)
        pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* Do tasks 0 to tasks - 1 of a job, in any order, on all threads; return when all are done. */
static void team_do(team *t, int tasks, task_function function, void *job) {
    if (t->threads == 1 || tasks == 1) {
        for (int task = 0; task < tasks; task++)
            function(job, task, 0);
        return;
    }
    t->function = function;
    t->job = job;
    __atomic_store_n(&t->done, 0, __ATOMIC_RELAXED);
    uint64_t ticket = ++t->number << 2 * TASK_BITS | (uint64_t)tasks << TASK_BITS;
    __atomic_store_n(&t->ticket, ticket, __ATOMIC_RELEASE);
    while (team_step(t, 0))
        ;
    for (int spins = 1; __atomic_load_n(&t->done, __ATOMIC_ACQUIRE) < tasks; spins++)
        team_pause(spins);
}

static void team_close(team *t) {
    team_set(t, &t->stopping, 1);
    for (int other = 0; other < t->threads - 1; other++)
        pthread_join(t->others[other], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->others);
}

/* Start threads - 1 threads beside the caller's. Returns 0, or -1 where the system gives none. */
static int team_open(team *t, int threads) {
    *t = (team){.threads = 1};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    t->others = calloc((size_t)threads, sizeof *t->others);
    while (t->others && t->threads < threads) {
        worker *one = malloc(sizeof *one);
        if (!one)
            break;
        *one = (worker){t, t->threads};
        if (pthread_create(&t->others[t->threads - 1], NULL, team_work, one)) {
            free(one);
            break;
        }
        t->threads++;
    }
    if (t->threads == threads)
        return 0;
    team_close(t);
    return -1;
}
