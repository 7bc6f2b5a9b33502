// What runs a kernel on the CPU. The threads of a threadgroup are fibers that take turns: each runs to the next barrier or
// SIMD-group function, where the others must arrive, too, at the same line. The host chooses who goes first, so that results
// which hang on the order show. Threadgroup memory begins as noise, and every index is checked.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <vector>

namespace machine {
constexpr int LANES = 32;
constexpr int MOST_THREADS = 1024;
constexpr int MOST_SHARED = 32 << 10;
constexpr int STACK_BYTES = 64 << 10;

enum class State { ready, at_simd, at_barrier, done };
struct Fiber {
  ucontext_t context;
  State state;
  int line;
  unsigned exchanges;
};
struct Dispatch {
  unsigned grid[3], group[3];
  int n_threads;
  bool reversed;
  void (*entry)();
};

inline Dispatch dispatch;
inline Fiber fibers[MOST_THREADS];
inline char stacks[MOST_THREADS][STACK_BYTES];
inline ucontext_t scheduler;
inline int current;
struct alignas(16) Quad { uint32_t words[4]; };
inline Quad slots[2][MOST_THREADS];

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "%s (thread %d of group %u, %u, %u)\n", what, current, dispatch.group[0], dispatch.group[1],
               dispatch.group[2]);
  std::exit(3);
}
inline void inside(uint64_t i, uint64_t n) {
  if (i >= n) fail("an index past the end");
}

inline void wait(State state, int line) {
  fibers[current].state = state;
  fibers[current].line = line;
  swapcontext(&fibers[current].context, &scheduler);
}
inline void barrier(int line) { wait(State::at_barrier, line); }

// What each lane of the caller's SIMD group gave; returns their number.
template <class T> int exchange(T own, T* lanes, int line) {
  static_assert(sizeof(T) <= sizeof(Quad), "a slot is a quad");
  // Slots of two exchanges: who is first at the next one must not overwrite what others have yet to read.
  Quad* slot = slots[fibers[current].exchanges++ % 2];
  std::memcpy(&slot[current], &own, sizeof own);
  wait(State::at_simd, line);
  int first = current / LANES * LANES;
  int n = dispatch.n_threads - first < LANES ? dispatch.n_threads - first : LANES;
  for (int i = 0; i < n; i++) std::memcpy(static_cast<void*>(&lanes[i]), &slot[first + i], sizeof own);
  return n;
}

inline void start() {
  dispatch.entry();
  wait(State::done, 0);
}

// Lets the SIMD groups go on that have arrived whole; says whether there were any.
inline bool release_simd_groups() {
  bool any = false;
  for (int first = 0; first < dispatch.n_threads; first += LANES) {
    int last = first + LANES < dispatch.n_threads ? first + LANES : dispatch.n_threads;
    int here = 0;
    bool same = true;
    for (int i = first; i < last; i++) {
      here += fibers[i].state == State::at_simd;
      same = same && fibers[i].line == fibers[first].line;
    }
    if (here == 0) continue;
    // Nobody is ready by now: who is not here will not come.
    if (here != last - first || !same) fail("a SIMD-group function in divergent control flow");
    for (int i = first; i < last; i++) fibers[i].state = State::ready;
    any = true;
  }
  return any;
}

inline void run_group() {
  int n = dispatch.n_threads;
  for (int i = 0; i < n; i++) {
    Fiber& fiber = fibers[i];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks[i];
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    fiber.state = State::ready;
    fiber.exchanges = 0;
    makecontext(&fiber.context, start, 0);
  }
  for (;;) {
    for (int i = 0; i < n; i++) {
      current = dispatch.reversed ? n - 1 - i : i;
      if (fibers[current].state == State::ready) swapcontext(&scheduler, &fibers[current].context);
    }
    if (release_simd_groups()) continue;
    int n_done = 0;
    for (int i = 0; i < n; i++) n_done += fibers[i].state == State::done;
    if (n_done == n) return;
    for (int i = 0; i < n; i++) {
      bool waits = fibers[i].state == State::at_barrier && fibers[i].line == fibers[0].line;
      if (!waits) fail("a barrier that not all threads reach");
      fibers[i].state = State::ready;
    }
  }
}

// An array of a buffer, to its end.
template <class T> struct Buffer {
  T* data;
  uint64_t n;
  T& operator[](uint32_t i) { return inside(i, n), data[i]; }
  const T& operator[](uint32_t i) const { return inside(i, n), data[i]; }
};
// An array within a type.
template <class T, int N> struct Array {
  T data[N];
  T& operator[](uint32_t i) { return inside(i, N), data[i]; }
  const T& operator[](uint32_t i) const { return inside(i, N), data[i]; }
};

// Immediates, weights, kv, scratch, tables, tokens, and sizes of buffers, which unchecked shaders do not read.
enum Part { IMMEDIATES, WEIGHTS, KV, SCRATCH, TABLES, TOKENS, SIZES, PARTS };
inline std::vector<Quad> memory[PARTS];
// What is bound to each slot: weights and scratch twice.
constexpr Part SLOTS[] = {IMMEDIATES, WEIGHTS, WEIGHTS, KV, SCRATCH, TABLES, TOKENS, SCRATCH, SIZES};
constexpr int N_SLOTS = sizeof SLOTS / sizeof *SLOTS;
alignas(16) inline unsigned char shared_memory[MOST_SHARED];

template <class T> struct Bound {
  static T& at(int slot) { return *reinterpret_cast<T*>(memory[SLOTS[slot]].data()); }
};
template <class T> struct Bound<Buffer<T>> {
  static Buffer<T>& at(int slot) {
    static Buffer<T> buffers[N_SLOTS];
    std::vector<Quad>& part = memory[SLOTS[slot]];
    buffers[slot] = {reinterpret_cast<T*>(part.data()), part.size() * sizeof(Quad) / sizeof(T)};
    return buffers[slot];
  }
};
// Threadgroup memory from a byte on.
template <class T, int OFFSET> T& shared() {
  static_assert(OFFSET % 16 == 0 && OFFSET + sizeof(T) <= MOST_SHARED, "more threadgroup memory than there is");
  return *reinterpret_cast<T*>(shared_memory + OFFSET);
}

inline void transfer(size_t (*move)(void*, size_t, size_t, FILE*), void* at, size_t n_bytes, FILE* file) {
  if (n_bytes > 0 && move(at, n_bytes, 1, file) != 1) fail("the host's file ends early");
}
inline size_t put(void* at, size_t size, size_t n, FILE* file) { return std::fwrite(at, size, n, file); }

// `program INPUT OUTPUT`. Input, in words: whether the last thread goes first, grid, 32 of immediates, lengths of weights, kv,
// scratch, tables, tokens, and those. Output: kv, scratch, tokens.
inline int run(char** arguments, int n_threads, void (*entry)()) {
  FILE* input = std::fopen(arguments[1], "rb");
  FILE* output = std::fopen(arguments[2], "wb");
  if (!input || !output) fail("no files");
  uint32_t head[4 + 32 + 5];
  transfer(std::fread, head, sizeof head, input);
  dispatch = {{head[1], head[2], head[3]}, {0, 0, 0}, n_threads, head[0] != 0, entry};
  memory[IMMEDIATES].resize(8);
  std::memcpy(memory[IMMEDIATES].data(), head + 4, 128);
  memory[SIZES].resize(8);
  auto n_bytes = [&](int part) { return 4 * size_t(head[36 + part - WEIGHTS]); };
  for (int part = WEIGHTS; part <= TOKENS; part++) {
    memory[part].resize((n_bytes(part) + 15) / 16 + (n_bytes(part) == 0));
    transfer(std::fread, memory[part].data(), n_bytes(part), input);
  }
  unsigned* group = dispatch.group;
  for (group[2] = 0; group[2] < dispatch.grid[2]; group[2]++)
    for (group[1] = 0; group[1] < dispatch.grid[1]; group[1]++)
      for (group[0] = 0; group[0] < dispatch.grid[0]; group[0]++) {
        // NaN, in f32 and f16.
        std::memset(shared_memory, 0xff, sizeof shared_memory);
        run_group();
      }
  for (int part : {KV, SCRATCH, TOKENS}) transfer(put, memory[part].data(), n_bytes(part), output);
  return std::fclose(output);
}
} // namespace machine
