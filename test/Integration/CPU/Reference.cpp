//===- Reference.cpp - The ops by their definition, without MLIR ----------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

using namespace vashista::test;

template <typename T>
static constexpr T kInf = std::numeric_limits<T>::infinity();

template <typename T>
static T dot(const float *a, const float *b, int64_t size) {
  T sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += T(a[i]) * T(b[i]);
  return sum;
}

static double norm(const float *vector, int64_t size) {
  return std::sqrt(dot<double>(vector, vector, size));
}

template <typename T> static T getLogit(const Logit &logit, T product) {
  T scaled = T(logit.scale) * product;
  if (logit.softCap)
    scaled = T(*logit.softCap) * std::tanh(scaled / T(*logit.softCap));
  return scaled / T(logit.epsilon);
}

/// log sum exp, -inf of nothing.
template <typename T> static T logSumExp(const std::vector<T> &numbers) {
  T most = -kInf<T>;
  for (T number : numbers)
    most = number > most ? number : most;
  if (std::isinf(most))
    return most;
  T sum = 0;
  for (T number : numbers)
    sum += std::exp(number - most);
  return most + std::log(sum);
}

//===----------------------------------------------------------------------===//
// Attending
//===----------------------------------------------------------------------===//

template <typename T>
State<T> State<T>::empty(int64_t rows, int64_t heads, int64_t valueDim) {
  return {Array<T>({rows, heads, valueDim}, 0),
          Array<T>({rows, heads}, -kInf<T>)};
}

void vashista::test::forEachToken(const AttendInputs &inputs, int64_t row,
                                  int64_t kvHead,
                                  const std::function<void(int64_t)> &use) {
  int64_t length = (*inputs.paging.seqLens)(row);
  int64_t pageSize = inputs.paging.pageSize;
  int64_t numEntries = length, perEntry = 1;
  const Array<int32_t> *list = inputs.pages ? inputs.pages : inputs.tokens;
  if (list) {
    numEntries = list->shape[2];
    if (inputs.count)
      numEntries = std::min<int64_t>(numEntries, (*inputs.count)(row, kvHead));
    perEntry = inputs.pages ? pageSize : 1;
  }
  int64_t slot = 0;
  for (int64_t entry = 0; entry < numEntries; ++entry) {
    for (int64_t i = 0; i < perEntry; ++i, ++slot) {
      if (inputs.range &&
          (slot < inputs.range->first || slot >= inputs.range->second))
        continue;
      int64_t listed = list ? (*list)(row, kvHead, entry) : entry;
      if (listed < 0)
        continue;
      int64_t position = listed * perEntry + i;
      if (position < length)
        use(position);
    }
  }
}

template <typename T>
State<T> vashista::test::merge(const std::vector<State<T>> &states) {
  const State<T> &first = states.front();
  int64_t rows = first.o.shape[0], heads = first.o.shape[1],
          dim = first.o.shape[2];
  State<T> result = State<T>::empty(rows, heads, dim);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      std::vector<T> lses;
      for (const State<T> &state : states)
        lses.push_back(state.lse(r, h));
      T lse = logSumExp(lses);
      for (const State<T> &state : states) {
        if (state.lse(r, h) == -kInf<T>)
          continue;
        T share = std::exp(state.lse(r, h) - lse);
        for (int64_t d = 0; d < dim; ++d)
          result.o(r, h, d) += share * state.o(r, h, d);
      }
      result.lse(r, h) = lse;
    }
  return result;
}

double vashista::test::mergeTails(const std::vector<float> &tails) {
  std::vector<double> wide;
  for (float tail : tails)
    wide.push_back(std::isnan(tail) ? kInf<double> : tail);
  return logSumExp(wide);
}

template <typename T>
void vashista::test::attend(const AttendInputs &inputs, State<T> &state) {
  int64_t rows = inputs.query->shape[0], heads = inputs.query->shape[1];
  int64_t keyDim = inputs.keys.getDim(), valueDim = inputs.values.getDim();
  int64_t group = heads / inputs.keys.getNumHeads();
  State<T> attended = State<T>::empty(rows, heads, valueDim);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t kvHead = h / group;
      const float *query = &(*inputs.query)(r, h, 0);
      std::vector<T> logits;
      std::vector<const float *> values;
      forEachToken(inputs, r, kvHead, [&](int64_t position) {
        int64_t page = inputs.paging.getPhysicalPage(r, position);
        int64_t slot = position % inputs.paging.pageSize;
        logits.push_back(getLogit(
            inputs.logit,
            dot<T>(query, inputs.keys.get(page, kvHead, slot), keyDim)));
        values.push_back(inputs.values.get(page, kvHead, slot));
      });
      if (logits.empty())
        continue;
      T most = *std::max_element(logits.begin(), logits.end());
      T sum = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        T weight = std::exp(logits[i] - most);
        sum += weight;
        for (int64_t d = 0; d < valueDim; ++d)
          attended.o(r, h, d) += weight * T(values[i][d]);
      }
      for (int64_t d = 0; d < valueDim; ++d)
        attended.o(r, h, d) /= sum;
      attended.lse(r, h) = most + std::log(sum);
    }
  state = merge<T>({state, attended});
}

template <typename T>
Array<int32_t> vashista::test::fallback(const AttendInputs &inputs,
                                        const Array<float> &measure,
                                        float limit, State<T> &state) {
  int64_t rows = measure.shape[0], heads = measure.shape[1];
  int64_t kvHeads = inputs.keys.getNumHeads(), group = heads / kvHeads;
  int64_t valueDim = inputs.values.getDim();
  State<T> dense = State<T>::empty(rows, heads, valueDim);
  attend(inputs, dense);
  Array<int32_t> flag({rows, kvHeads}, 0);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h)
      if (!(measure(r, h) <= limit))
        flag(r, h / group) = 1;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      if (!flag(r, h / group))
        continue;
      state.lse(r, h) = dense.lse(r, h);
      for (int64_t d = 0; d < valueDim; ++d)
        state.o(r, h, d) = dense.o(r, h, d);
    }
  return flag;
}

//===----------------------------------------------------------------------===//
// Scoring and picking
//===----------------------------------------------------------------------===//

template <typename T>
std::pair<Array<T>, Array<T>> vashista::test::score(const ScoreInputs &inputs) {
  int64_t rows = inputs.direction->shape[0], heads = inputs.direction->shape[1],
          dim = inputs.direction->shape[2];
  int64_t pageSize = inputs.paging.pageSize;
  bool ofTokens = inputs.source == Source::keys;
  int64_t kvHeads =
      ofTokens ? inputs.keys.getNumHeads() : inputs.first->shape[1];
  int64_t numPages =
      inputs.pages ? inputs.pages->shape[2] : inputs.paging.pageTable->shape[1];
  int64_t perPage = ofTokens ? pageSize : 1;
  int64_t slots = numPages * perPage;
  Array<T> scores({rows, heads, slots}, -kInf<T>), bounds = scores;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t slot = 0; slot < slots; ++slot) {
        int64_t kvHead = h / (heads / kvHeads), page = slot / perPage;
        if (inputs.pages) {
          if (inputs.pageCount && page >= (*inputs.pageCount)(r, kvHead))
            continue;
          page = (*inputs.pages)(r, kvHead, page);
          if (page < 0)
            continue;
        }
        int64_t position = page * pageSize + slot % perPage;
        if (position >= (*inputs.paging.seqLens)(r))
          continue;
        int64_t physical = inputs.paging.getPhysicalPage(r, position);
        const float *w = &(*inputs.direction)(r, h, 0);
        T product = 0;
        switch (inputs.source) {
        case Source::keys:
          product = dot<T>(
              w, inputs.keys.get(physical, kvHead, position % pageSize), dim);
          break;
        case Source::mean:
          product = dot<T>(w, &(*inputs.first)(physical, kvHead, 0), dim);
          break;
        case Source::meanStd:
          for (int64_t d = 0; d < dim; ++d)
            product +=
                T(w[d]) * T((*inputs.first)(physical, kvHead, d)) +
                std::abs(T(w[d])) * T((*inputs.second)(physical, kvHead, d));
          break;
        case Source::box:
          for (int64_t d = 0; d < dim; ++d)
            product +=
                std::max(T(w[d]) * T((*inputs.first)(physical, kvHead, d)),
                         T(w[d]) * T((*inputs.second)(physical, kvHead, d)));
          break;
        case Source::ball:
          product = dot<T>(w, &(*inputs.first)(physical, kvHead, 0), dim) +
                    std::sqrt(dot<T>(w, w, dim)) *
                        T((*inputs.second)(physical, kvHead));
          break;
        }
        T logit = getLogit(inputs.logit, product);
        bool isBound =
            inputs.source != Source::mean && inputs.source != Source::meanStd;
        scores(r, h, slot) = logit;
        bounds(r, h, slot) = isBound ? logit : kInf<T>;
      }
  return {scores, bounds};
}

std::vector<OpenSlot> vashista::test::getOpenSlots(const PickInputs &inputs,
                                                   int64_t row,
                                                   int64_t kvHead) {
  int64_t length = (*inputs.seqLens)(row), size = inputs.pageSize;
  std::vector<OpenSlot> open;
  for (int64_t slot = 0; slot < inputs.scores->shape[2]; ++slot) {
    int64_t id = slot;
    if (inputs.pages) {
      int64_t entry = slot / size;
      if (inputs.pageCount && entry >= (*inputs.pageCount)(row, kvHead))
        continue;
      int64_t page = (*inputs.pages)(row, kvHead, entry);
      if (page < 0)
        continue;
      id = page * size + slot % size;
    }
    int64_t first = inputs.ofPages ? id * size : id;
    int64_t last = std::min(inputs.ofPages ? first + size : id + 1, length);
    if (first >= last)
      continue;
    bool isTaken = false;
    if (inputs.taken)
      for (int64_t i = 0; i < inputs.taken->shape[2]; ++i)
        isTaken |= (*inputs.taken)(row, kvHead, i) == id;
    if (isTaken)
      continue;
    bool always = first < inputs.sinks || last > length - inputs.window;
    open.push_back({slot, id, double(last - first), always});
  }
  return open;
}

namespace {

/// What the heads of a group need in turn for their proofs.
class Need {
public:
  Need(const PickInputs &inputs, int64_t row, double slack,
       const std::vector<OpenSlot> &open)
      : inputs(inputs), row(row), slack(slack), open(open) {
    for (const OpenSlot &slot : open)
      isTaken.push_back(slot.always);
  }

  void addHead(int64_t h);

  std::vector<bool> isTaken; // of `open`
  bool isClose = false;

private:
  /// An f32, as the steps of the definition are.
  float getBound(int64_t h, const OpenSlot &slot) const {
    float bound = (*inputs.bounds)(row, h, slot.slot) +
                  static_cast<float>(std::log(slot.numTokens));
    return std::isnan(bound) ? kInf<float> : bound;
  }

  const PickInputs &inputs;
  int64_t row;
  double slack;
  const std::vector<OpenSlot> &open;
};

} // namespace

void Need::addHead(int64_t h) {
  constexpr int64_t kSteps = 1024;
  float top = -kInf<float>;
  double shift = inputs.attended ? (*inputs.attended)(row, h) : -kInf<double>;
  bool unknown = inputs.outside && std::isnan((*inputs.outside)(row, h));
  for (const OpenSlot &slot : open) {
    float bound = getBound(h, slot),
          score = (*inputs.scores)(row, h, slot.slot);
    if (bound < kInf<float>)
      top = std::max(top, bound);
    unknown |= std::isnan(score);
    if (std::isfinite(score))
      shift = std::max(shift, score + std::log(slot.numTokens));
  }
  if (shift == -kInf<double>)
    shift = 0;
  std::vector<double> mass(kSteps + 1, 0), rest(kSteps + 1, 0);
  std::vector<int64_t> steps;
  double taken = 0;
  if (inputs.attended)
    taken += std::exp((*inputs.attended)(row, h) - shift);
  double outside =
      inputs.outside ? std::exp((*inputs.outside)(row, h) - shift) : 0;
  for (size_t i = 0; i < open.size(); ++i) {
    float bound = getBound(h, open[i]);
    double estimate = std::exp((*inputs.scores)(row, h, open[i].slot) +
                               std::log(open[i].numTokens) - shift);
    float below = (top - bound) * 32.0f;
    // A logarithm that rounds otherwise may move a slot by a step.
    isClose |= open[i].numTokens > 1 && below > 0 && below < kSteps &&
               std::fabs(below - std::round(below)) < 1e-3;
    int64_t step = below > 0 ? std::min<float>(below, kSteps - 1) : 0;
    if (bound == kInf<float>)
      step = -1;
    steps.push_back(step);
    if (isTaken[i] || step < 0) {
      taken += estimate;
      continue;
    }
    mass[step] += estimate;
    rest[step] += std::exp(bound - shift);
  }
  // What is left below each step, without a subtraction.
  rest[kSteps] = outside;
  for (int64_t step = kSteps - 1; step >= 0; --step)
    rest[step] += rest[step + 1];
  double tolerance = *inputs.tolerance * (1 - 0x1p-8);
  double ratio = tolerance / (1 - tolerance) *
                 (1 - 0x1p-25 * std::max((*inputs.seqLens)(row), 0));
  int64_t number = 0;
  for (; number < kSteps; ++number) {
    if (!unknown && rest[number] <= ratio * taken)
      break;
    isClose |= rest[number] * (1 - slack) <= (ratio + slack) * taken;
    taken += mass[number];
  }
  isClose |= number < kSteps &&
             !(rest[number] * (1 + slack) <= (ratio - slack) * taken);
  for (size_t i = 0; i < open.size(); ++i)
    if (steps[i] < number)
      isTaken[i] = true;
}

Picked vashista::test::pick(const PickInputs &inputs, double slack) {
  int64_t rows = inputs.scores->shape[0], heads = inputs.scores->shape[1],
          slots = inputs.scores->shape[2];
  int64_t kvHeads = inputs.numKvHeads, group = heads / kvHeads;
  Picked result = {Array<int32_t>({rows, kvHeads, inputs.budget}, -1),
                   Array<int32_t>({rows, kvHeads}, 0),
                   Array<double>({rows, heads}, -kInf<double>),
                   Array<double>({rows, kvHeads, slots}, -kInf<double>),
                   Array<char>({rows, kvHeads, slots}, 1),
                   Array<char>({rows, kvHeads}, 0)};
  struct Slot : OpenSlot {
    double rank;
  };
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t kvHead = 0; kvHead < kvHeads; ++kvHead) {
      std::vector<Slot> open;
      for (const OpenSlot &slot : getOpenSlots(inputs, r, kvHead))
        open.push_back({slot, 0});

      // Of each head: the reference of its scores, and what forbids a bound.
      std::vector<double> refs;
      std::vector<bool> isUnknown;
      for (int64_t h = kvHead * group; h < (kvHead + 1) * group; ++h) {
        std::vector<double> masses;
        bool unknown = inputs.outside && std::isnan((*inputs.outside)(r, h));
        for (Slot &slot : open) {
          double value = (*inputs.scores)(r, h, slot.slot);
          unknown |= std::isnan(value);
          if (!std::isnan(value))
            masses.push_back(value + std::log(slot.numTokens));
        }
        refs.push_back(logSumExp(masses));
        isUnknown.push_back(unknown);
      }
      for (Slot &slot : open) {
        slot.rank = -kInf<double>;
        for (int64_t g = 0; g < group; ++g) {
          double value = (*inputs.scores)(r, kvHead * group + g, slot.slot) +
                         std::log(slot.numTokens) - refs[g];
          // A NaN ranks last for its head; the other heads still rank the slot.
          if (!std::isnan(value))
            slot.rank = std::max(slot.rank, value);
        }
        if (slot.always)
          slot.rank = kInf<double>;
        result.rank(r, kvHead, slot.slot) = slot.rank;
      }
      // Ties go to the lowest index.
      std::sort(open.begin(), open.end(), [](const Slot &a, const Slot &b) {
        if (a.rank != b.rank)
          return a.rank > b.rank;
        return a.slot < b.slot;
      });

      // log of what is left out when the first `count` slots are picked.
      auto getTail = [&](int64_t h, size_t count) {
        if (isUnknown[h - kvHead * group])
          return kInf<double>;
        std::vector<double> left;
        if (inputs.outside)
          left.push_back((*inputs.outside)(r, h));
        for (size_t i = count; i < open.size(); ++i) {
          double bound = (*inputs.bounds)(r, h, open[i].slot);
          if (std::isnan(bound))
            return kInf<double>;
          left.push_back(bound + std::log(open[i].numTokens));
        }
        return logSumExp(left);
      };
      size_t count = std::min<size_t>(inputs.budget, open.size());
      if (inputs.tolerance) {
        std::vector<OpenSlot> slots(open.begin(), open.end());
        Need need(inputs, r, slack, slots);
        for (int64_t h = kvHead * group; h < (kvHead + 1) * group; ++h)
          need.addHead(h);
        for (size_t i = 0; i < slots.size(); ++i)
          result.isNeeded(r, kvHead, slots[i].slot) = need.isTaken[i];
        result.isClose(r, kvHead) = need.isClose;
        // What is not needed is behind all that is, in the same order.
        std::sort(open.begin(), open.end(), [&](const Slot &a, const Slot &b) {
          auto key = [&](const Slot &slot) {
            return std::make_tuple(!result.isNeeded(r, kvHead, slot.slot),
                                   -slot.rank, slot.slot);
          };
          return key(a) < key(b);
        });
        count = std::min<size_t>(
            count, std::count(need.isTaken.begin(), need.isTaken.end(), true));
      }
      for (int64_t h = kvHead * group; h < (kvHead + 1) * group; ++h)
        result.tail(r, h) = getTail(h, count);
      std::vector<int64_t> ids;
      for (size_t i = 0; i < count; ++i)
        ids.push_back(open[i].id);
      std::sort(ids.begin(), ids.end());
      for (size_t i = 0; i < count; ++i)
        result.ids(r, kvHead, i) = ids[i];
      result.count(r, kvHead) = count;
    }
  return result;
}

//===----------------------------------------------------------------------===//
// Proving
//===----------------------------------------------------------------------===//

namespace {

/// What a certificate of a row and head needs.
struct HeadNumbers {
  double umax = 0, vmax = 0, lse = 0, tail = 0, normO = 0, normW = 0;
  double rounding = 0; // e of docs/theory.md, section 4
  bool areNormsFinite = true;
};

} // namespace

static HeadNumbers getNumbers(const CertifyInputs &inputs, int64_t r,
                              int64_t h) {
  int64_t heads = inputs.o->shape[1], valueDim = inputs.o->shape[2];
  int64_t dim = inputs.direction->shape[2];
  int64_t group = heads / inputs.norms->shape[1];
  HeadNumbers head;
  int64_t length = (*inputs.paging.seqLens)(r);
  for (int64_t position = 0; position < length;
       position += inputs.paging.pageSize) {
    int64_t page = inputs.paging.getPhysicalPage(r, position);
    const float *norms = &(*inputs.norms)(page, h / group, 0);
    head.areNormsFinite &= std::isfinite(norms[0]) && std::isfinite(norms[1]);
    head.umax = std::isnan(norms[0]) ? kInf<double>
                                     : std::max<double>(head.umax, norms[0]);
    head.vmax = std::max<double>(head.vmax, norms[1]);
  }
  head.tail = (*inputs.tail)(r, h);
  head.lse = (*inputs.lse)(r, h);
  head.normO = norm(&(*inputs.o)(r, h, 0), valueDim);
  head.normW = norm(&(*inputs.direction)(r, h, 0), dim);
  double lost =
      0x1p-124 * std::sqrt(dim) * (head.normW + head.umax + std::sqrt(dim));
  head.rounding = (2 * (dim + 8) * 0x1p-24 * head.normW * head.umax + lost) *
                      inputs.logit.scale / inputs.logit.epsilon +
                  0x1p-26 * std::max<int64_t>(length, 0) + 0x1p-20;
  return head;
}

std::pair<Array<double>, Array<double>>
vashista::test::certify(const CertifyInputs &inputs) {
  int64_t rows = inputs.o->shape[0], heads = inputs.o->shape[1];
  Array<double> tau({rows, heads}, 1), error({rows, heads}, kInf<double>);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      HeadNumbers head = getNumbers(inputs, r, h);
      // A broken state proves nothing, even without a tail; an empty one may be
      // whole.
      if (!std::isfinite(head.normO) || std::isnan(head.lse) ||
          head.lse == kInf<double>)
        continue;
      bool isRough = !(head.rounding <= 0.1);
      if (head.tail == -kInf<double>) {
        // Nothing may be attended, but for want of numbers.
        if (head.lse > -kInf<double> || !isRough)
          tau(r, h) = error(r, h) = 0;
        continue;
      }
      if (!head.areNormsFinite || !std::isfinite(head.normW) ||
          std::isnan(head.tail) || head.tail == kInf<double>)
        continue;
      // docs/theory.md, section 4.
      if (head.lse == -kInf<double> || isRough)
        continue;
      tau(r, h) = 1 / (1 + std::exp(head.lse - head.tail - 2 * head.rounding));
      double rounding = 0x1p-8 + 7 * head.rounding;
      error(r, h) = tau(r, h) * (head.vmax * (1 + rounding) + head.normO);
    }
  return {tau, error};
}

CertifiedProjection
vashista::test::certifyProjection(const CertifyInputs &inputs,
                                  bool hasEntropy) {
  Shape shape = {inputs.o->shape[0], inputs.o->shape[1]};
  CertifiedProjection result = {Array<double>(shape, 1),
                                Array<double>(shape, kInf<double>),
                                Array<double>(shape, kInf<double>)};
  double epsilon = inputs.logit.epsilon;
  for (int64_t r = 0; r < shape[0]; ++r)
    for (int64_t h = 0; h < shape[1]; ++h) {
      HeadNumbers head = getNumbers(inputs, r, h);
      double gap = (*inputs.gap)(r, h);
      bool isWhole = head.tail == -kInf<double>;
      bool isEmpty = isWhole && head.lse == -kInf<double>;
      // Only an empty set has no lse, only where nothing is left out no tail.
      if (!head.areNormsFinite || !std::isfinite(head.normW) ||
          !std::isfinite(head.normO) || !std::isfinite(gap) || gap < 0 ||
          (!isWhole && !std::isfinite(head.tail)) ||
          (!isEmpty && !std::isfinite(head.lse)))
        continue;
      // docs/theory.md, section 5.
      double x =
          isWhole ? -kInf<double> : head.tail - head.lse + 2 * head.rounding;
      double missed = hasEntropy
                          ? epsilon * (std::max(x, 0.0) +
                                       std::log1p(std::exp(-std::fabs(x))))
                          : std::max(x, 0.0);
      double full = result.fullGap(r, h) = gap + (1 + 0x1p-8) * missed;
      if (!hasEntropy) {
        if (isEmpty && head.rounding <= 0.1)
          result.tau(r, h) = result.error(r, h) = 0;
        continue;
      }
      if (head.rounding > 0.1)
        continue;
      double diameter = 2 * std::sqrt(inputs.logit.scale) * head.umax;
      double mass =
          std::min(1 / (1 + std::exp(-x - diameter * std::sqrt(gap) / epsilon)),
                   -std::expm1(-full / epsilon));
      if (isWhole)
        mass = 0;
      double tau =
          std::min(std::sqrt(full / (2 * epsilon)),
                   std::sqrt(gap / (2 * epsilon)) +
                       mass * (1 + diameter / (4 * std::sqrt(epsilon))));
      result.tau(r, h) = std::min(tau, 1.0);
      result.error(r, h) = 2 * result.tau(r, h) * head.vmax;
    }
  return result;
}

//===----------------------------------------------------------------------===//
// What is kept beside the cache
//===----------------------------------------------------------------------===//

PageSummary vashista::test::summarizePage(const Cache &keys,
                                          const Cache &values, int64_t page,
                                          int64_t kvHead, int64_t numTokens) {
  int64_t dim = keys.getDim();
  PageSummary result;
  result.numTokens = numTokens;
  if (numTokens == 0)
    return result;
  result.mean.assign(dim, 0);
  result.std.assign(dim, 0);
  result.lo.assign(dim, kInf<double>);
  result.hi.assign(dim, -kInf<double>);
  for (int64_t slot = 0; slot < numTokens; ++slot) {
    const float *key = keys.get(page, kvHead, slot);
    for (int64_t d = 0; d < dim; ++d) {
      result.mean[d] += key[d] / double(numTokens);
      result.lo[d] = std::min<double>(result.lo[d], key[d]);
      result.hi[d] = std::max<double>(result.hi[d], key[d]);
    }
    result.keyNorm = std::max(result.keyNorm, norm(key, dim));
    if (values.array)
      result.valueNorm =
          std::max(result.valueNorm,
                   norm(values.get(page, kvHead, slot), values.getDim()));
  }
  for (int64_t slot = 0; slot < numTokens; ++slot) {
    const float *key = keys.get(page, kvHead, slot);
    double square = 0;
    for (int64_t d = 0; d < dim; ++d) {
      double offset = key[d] - result.mean[d];
      result.std[d] += offset * offset / numTokens;
      square += offset * offset;
    }
    result.radius = std::max(result.radius, std::sqrt(square));
  }
  for (double &deviation : result.std)
    deviation = std::sqrt(deviation);
  return result;
}

Array<PageSummary> vashista::test::summarize(const Cache &keys,
                                             const Cache &values,
                                             const Paging &paging) {
  int64_t numPages = keys.array->shape[0], kvHeads = keys.getNumHeads();
  // A page's tokens are those that the longest row of its sequence sees.
  std::vector<int64_t> numTokens(numPages, 0);
  for (int64_t r = 0; r < paging.seqLens->shape[0]; ++r) {
    int64_t length = (*paging.seqLens)(r);
    for (int64_t first = 0; first < length; first += paging.pageSize) {
      int64_t &tokens = numTokens[paging.getPhysicalPage(r, first)];
      tokens = std::max(tokens, std::min(paging.pageSize, length - first));
    }
  }
  Array<PageSummary> result({numPages, kvHeads});
  for (int64_t page = 0; page < numPages; ++page)
    for (int64_t kvHead = 0; kvHead < kvHeads; ++kvHead)
      result(page, kvHead) =
          summarizePage(keys, values, page, kvHead, numTokens[page]);
  return result;
}

Array<PageSummary> vashista::test::append(const AppendInputs &inputs,
                                          Array<float> &keys,
                                          Array<float> &values) {
  Cache keyCache = {&keys, inputs.nhd}, valueCache = {&values, inputs.nhd};
  int64_t kvHeads = keyCache.getNumHeads();
  Array<PageSummary> result({keys.shape[0], kvHeads});
  for (int64_t r = 0; r < inputs.positions->shape[0]; ++r) {
    int64_t position = (*inputs.positions)(r);
    if (position < 0)
      continue;
    int64_t page = inputs.paging.getPhysicalPage(r, position);
    int64_t slot = position % inputs.paging.pageSize;
    for (int64_t kvHead = 0; kvHead < kvHeads; ++kvHead) {
      for (int64_t d = 0; d < keyCache.getDim(); ++d)
        keys.data[keyCache.getOffset(page, kvHead, slot) + d] =
            (*inputs.key)(r, kvHead, d);
      for (int64_t d = 0; d < valueCache.getDim(); ++d)
        values.data[valueCache.getOffset(page, kvHead, slot) + d] =
            (*inputs.value)(r, kvHead, d);
      result(page, kvHead) =
          summarizePage(keyCache, valueCache, page, kvHead, slot + 1);
    }
  }
  return result;
}

namespace vashista::test {
#define INSTANTIATE(T)                                                         \
  template struct State<T>;                                                    \
  template void attend(const AttendInputs &, State<T> &);                      \
  template State<T> merge(const std::vector<State<T>> &);                      \
  template std::pair<Array<T>, Array<T>> score(const ScoreInputs &);           \
  template Array<int32_t> fallback(const AttendInputs &, const Array<float> &, \
                                   float, State<T> &);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE
} // namespace vashista::test
