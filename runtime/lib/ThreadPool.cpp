//===- ThreadPool.cpp - What the host offers to kernels -------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"
#include "Temporaries.h"
#include "cuda/DeviceCode.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

using namespace vashista::runtime;

//===----------------------------------------------------------------------===//
// The thread's state
//===----------------------------------------------------------------------===//

/// The call that this thread works for, if any.
static thread_local CallState *currentCall = nullptr;
/// Whether this thread runs a body, where another parallel_for is inline.
static thread_local bool inBody = false;

/// Replaces the modes of floating-point arithmetic and returns the old ones.
static unsigned exchangeFloatingPoint(unsigned modes) {
#ifdef __SSE__
  unsigned old = _mm_getcsr();
  _mm_setcsr(modes);
  return old;
#else
  return modes;
#endif
}
/// Round to nearest, keep denormals, no traps.
static constexpr unsigned kDefaultFloatingPoint = 0x1f80;

CallScope::CallScope(CallState &call)
    : floatingPoint(exchangeFloatingPoint(kDefaultFloatingPoint)) {
  outer = currentCall;
  currentCall = &call;
}

CallScope::~CallScope() {
  currentCall = outer;
  exchangeFloatingPoint(floatingPoint);
}

//===----------------------------------------------------------------------===//
// The pool
//===----------------------------------------------------------------------===//

namespace {

/// One parallel_for, on the stack of its caller.
struct Job {
  int64_t size;
  void (*body)(void *ctx, int64_t i);
  void *ctx;
  CallState *call;
  std::atomic<int64_t> next{0};

  // The rest belongs to whoever holds the pool's mutex.
  unsigned helpersWanted = 0;
  /// Others only look whether it is 0 yet.
  std::atomic<unsigned> helpersActive{0};
  pthread_cond_t done = PTHREAD_COND_INITIALIZER;
  Job *newer = nullptr;
};

/// Its one instance is never destroyed, so that threads which are there when
/// the process ends find it.
struct Pool {
  /// Held while threads are started or ended; taken before the mutex.
  pthread_mutex_t lifeMutex = PTHREAD_MUTEX_INITIALIZER;
  unsigned users = 0;

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  Job *oldest = nullptr;
  bool stopping = false;
  /// Changes, under the mutex, when there may be something new to do.
  std::atomic<unsigned> news{0};

  /// Written under lifeMutex, before `started` is set.
  pthread_t *threads = nullptr;
  unsigned numThreads = 0; // the callers not among them
  std::atomic<bool> started{false};
};

} // namespace

static Pool pool;

/// Looks again and again for about a hundred microseconds before the caller
/// sleeps: the stages of a step follow each other faster than a thread wakes
/// up.
template <typename Condition> static void spinUntil(Condition condition) {
  for (unsigned i = 0; i < 5000 && !condition(); ++i) {
#ifdef __SSE__
    _mm_pause();
#endif
  }
}

static void runIndices(Job &job) {
  inBody = true;
  for (int64_t i;
       (i = job.next.fetch_add(1, std::memory_order_relaxed)) < job.size;)
    job.body(job.ctx, i);
  inBody = false;
}

/// A job with something left to do and room for a helper.
static Job *findJob() {
  for (Job *job = pool.oldest; job; job = job->newer)
    if (job->helpersWanted > 0 &&
        job->next.load(std::memory_order_relaxed) < job->size)
      return job;
  return nullptr;
}

static void *work(void *) {
  pthread_mutex_lock(&pool.mutex);
  while (!pool.stopping) {
    Job *job = findJob();
    if (!job) {
      unsigned known = pool.news.load(std::memory_order_relaxed);
      auto isNews = [known] {
        return pool.news.load(std::memory_order_relaxed) != known;
      };
      pthread_mutex_unlock(&pool.mutex);
      spinUntil(isNews);
      pthread_mutex_lock(&pool.mutex);
      if (!isNews())
        pthread_cond_wait(&pool.wake, &pool.mutex);
      continue;
    }
    --job->helpersWanted;
    job->helpersActive.fetch_add(1, std::memory_order_relaxed);
    pthread_mutex_unlock(&pool.mutex);
    if (job->call) {
      CallScope scope(*job->call);
      runIndices(*job);
    } else {
      runIndices(*job);
    }
    pthread_mutex_lock(&pool.mutex);
    // The caller frees the job as soon as it gets the mutex.
    if (job->helpersActive.fetch_sub(1, std::memory_order_relaxed) == 1)
      pthread_cond_signal(&job->done);
  }
  pthread_mutex_unlock(&pool.mutex);
  return nullptr;
}

/// Threads to use at most, the caller's among them.
static unsigned countThreads() {
  constexpr long most = 1024;
  if (const char *text = getenv("VASHISTA_NUM_THREADS")) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    // Anything else is as good as unset.
    if (errno == 0 && end != text && *end == '\0' && number >= 1)
      return static_cast<unsigned>(number < most ? number : most);
  }
  cpu_set_t cpus;
  long number = sched_getaffinity(0, sizeof(cpus), &cpus) == 0
                    ? CPU_COUNT(&cpus)
                    : sysconf(_SC_NPROCESSORS_ONLN);
  return static_cast<unsigned>(number < 1 ? 1 : number < most ? number : most);
}

/// Fewer threads than wanted, even none, are enough: callers do the rest.
static void startThreads() {
  pthread_mutex_lock(&pool.lifeMutex);
  if (!pool.started.load(std::memory_order_relaxed)) {
    unsigned wanted = countThreads() - 1;
    pool.threads =
        static_cast<pthread_t *>(calloc(wanted + 1, sizeof(pthread_t)));
    // A program's signal handlers run on its own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pool.numThreads = 0;
    while (pool.threads && pool.numThreads < wanted &&
           pthread_create(&pool.threads[pool.numThreads], nullptr, work,
                          nullptr) == 0)
      ++pool.numThreads;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pool.started.store(true, std::memory_order_release);
  }
  pthread_mutex_unlock(&pool.lifeMutex);
}

void vashista::runtime::acquirePool() {
  pthread_mutex_lock(&pool.lifeMutex);
  ++pool.users;
  pthread_mutex_unlock(&pool.lifeMutex);
}

void vashista::runtime::releasePool() {
  pthread_mutex_lock(&pool.lifeMutex);
  if (--pool.users == 0 && pool.started.load(std::memory_order_relaxed)) {
    pthread_mutex_lock(&pool.mutex);
    pool.stopping = true;
    pool.news.fetch_add(1, std::memory_order_relaxed);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
    for (unsigned i = 0; i < pool.numThreads; ++i)
      pthread_join(pool.threads[i], nullptr);
    free(pool.threads);
    pool.threads = nullptr;
    pool.numThreads = 0;
    pool.stopping = false;
    pool.started.store(false, std::memory_order_relaxed);
  }
  pthread_mutex_unlock(&pool.lifeMutex);
}

//===----------------------------------------------------------------------===//
// The host interface
//===----------------------------------------------------------------------===//

static void parallelFor(int64_t size, void (*body)(void *ctx, int64_t i),
                        void *ctx) {
  unsigned most = currentCall ? currentCall->maxThreads : 0;
  bool isInline = size <= 1 || inBody || most == 1;
  if (!isInline && !pool.started.load(std::memory_order_acquire))
    startThreads();
  if (isInline || pool.numThreads == 0) {
    for (int64_t i = 0; i < size; ++i)
      body(ctx, i);
    return;
  }

  unsigned helpers = pool.numThreads;
  if (most != 0 && most - 1 < helpers)
    helpers = most - 1;
  if (size - 1 < helpers)
    helpers = static_cast<unsigned>(size - 1);
  Job job;
  job.size = size;
  job.body = body;
  job.ctx = ctx;
  job.call = currentCall;
  job.helpersWanted = helpers;

  pthread_mutex_lock(&pool.mutex);
  Job **last = &pool.oldest;
  while (*last)
    last = &(*last)->newer;
  *last = &job;
  pool.news.fetch_add(1, std::memory_order_relaxed);
  for (unsigned i = 0; i < helpers; ++i)
    pthread_cond_signal(&pool.wake);
  pthread_mutex_unlock(&pool.mutex);

  runIndices(job);

  auto isDone = [&job] {
    return job.helpersActive.load(std::memory_order_relaxed) == 0;
  };
  spinUntil(isDone);
  pthread_mutex_lock(&pool.mutex);
  Job **link = &pool.oldest;
  while (*link != &job)
    link = &(*link)->newer;
  *link = job.newer;
  while (!isDone())
    pthread_cond_wait(&job.done, &pool.mutex);
  pthread_mutex_unlock(&pool.mutex);
  pthread_cond_destroy(&job.done);
}

static void *allocate(uint64_t size, uint64_t align) {
  if (currentCall && currentCall->device)
    return currentCall->device->allocate(size, align);
  if (void *pointer = allocateTemporary(size, align))
    return pointer;
  if (currentCall)
    currentCall->outOfMemory.store(true, std::memory_order_relaxed);
  return nullptr;
}

static void release(void *memory) {
  if (currentCall && currentCall->device)
    currentCall->device->free(memory);
  else
    freeTemporary(memory);
}

static void launch(uint32_t kernel, int64_t gridX, int64_t gridY, int64_t gridZ,
                   int64_t blockX, int64_t blockY, int64_t blockZ,
                   int32_t sharedBytes, void **parameters) {
  const int64_t grid[] = {gridX, gridY, gridZ};
  const int64_t block[] = {blockX, blockY, blockZ};
  if (currentCall && currentCall->device)
    currentCall->device->launch(kernel, grid, block, sharedBytes, parameters);
}

const vashista_host vashista::runtime::host = {VSO_HOST_ABI, parallelFor,
                                               allocate, release, launch};
