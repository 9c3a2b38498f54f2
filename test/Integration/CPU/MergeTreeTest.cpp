//===- MergeTreeTest.cpp - Merges in any order agree ----------------------===//
//
// Part of the vashista project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Random trees of merges over 1 to 64 shards, against one merge of all shards
// in float64. How far they may be apart, with u = 2^-24 and O = max norm(o_k):
//
// A merge of n states that are not empty computes p_k = exp(lse_k - m), their
// sum S >= 1 and sum p_k o_k / S. The difference is off by u of itself, exp by
// a few u (4 here) of the power. Weighted by p_k / S, the differences sum to at
// most log n, as the entropy of the weights is at least that. So S is off by
//
//   W = (n + log n + 4) u   of itself, and   E = (2 W + 2 u) O
//
// is how far the output is, which takes the products, their sum and a quotient
// more. The lse is off by
//
//   d = W + 4 u log n + u abs(lse).
//
// What children are off by adds to that. Where the lse of each is off by at
// most D, so is that of the merge; weights then differ by at most D / 2 in
// total variation, and outputs, which lie within 2 O of each other, by D O.
// Hence with D and F the most that the children's lse and output are off by,
//
//   lse:     D + d
//   output:  F + D O + E.
//
// A flat merge of K states, whose lses are exact, is therefore off by at most
// c u O with c = 2 (K + log K + 5). Each level of a tree above adds its own
// such c, and what the level below has rounded off the lse: abs(lse) where it
// is large. It is an f32: at 10^4 it has 2^-10 for its last place.
//
// States among empty ones are exact: there is nothing to add up.
//
// The environment chooses how many:
//   VASHISTA_TREES=N  (300)
//   VASHISTA_SEED=S   (1)
//
//===----------------------------------------------------------------------===//

#include "Sweep.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstdio>

using namespace vashista::test;

namespace {

constexpr int64_t kMostShards = 64, kHeads = 3, kDim = 20;
constexpr float kMostLse = 1e4f;

/// What a subtree yields, for rows of one, and how far it may be off.
struct Node {
  State<float> state = State<float>::empty(1, kHeads, kDim);
  Array<float> tail = Array<float>({1, kHeads}, -kInf);
  std::vector<double> lseError = std::vector<double>(kHeads);
  std::vector<double> outputError = std::vector<double>(kHeads);
  std::vector<double> tailError = std::vector<double>(kHeads);
};

/// Merges of a fixed number of operands, each a node or a stack of nodes.
struct Form {
  Form(const std::string &name, std::vector<bool> isStack);
  size_t getNumSingle() const {
    return std::count(isStack.begin(), isStack.end(), false);
  }
  /// Whether it can merge as many nodes.
  bool canMerge(size_t number) const {
    return getNumSingle() == number ||
           (getNumSingle() < number && getNumSingle() < isStack.size());
  }
  std::vector<bool> isStack; // at most one
  Entry merge, mergeTails;
};

class MergeTreeTest : public testing::Test {
protected:
  Node makeShard(float centre, float spread, float size, Random &random) const;
  /// Of consecutive shards.
  Node makeTree(const std::vector<Node> &shards, Random &random);
  Node merge(const std::vector<Node> &children, Random &random);
  void check(const std::vector<Node> &shards, const Node &root);

  Form forms[5] = {{"stack", {true}},
                   {"pair", {false, false}},
                   {"three", {false, false, false}},
                   {"between", {false, true, false}},
                   {"before", {true, false}}};
  std::unique_ptr<CompiledModule> module;
  /// Of the tree's shards, by head.
  std::vector<double> largestNorm;
  enum Style { flat, binary, chain, any } style = any;
  Findings findings;
  double mostUlps = 0, mostUnits[2] = {0, 0}; // of trees, of flat merges
};

} // namespace

Form::Form(const std::string &name, std::vector<bool> isStack)
    : isStack(isStack), merge(name, Entry::Form::tensors),
      mergeTails(name + "_tails", Entry::Form::tensors) {
  auto useEach = [&](Entry &entry, const char *operand, Shape single) {
    for (size_t i = 0; i < isStack.size(); ++i) {
      Shape shape = single;
      if (isStack[i])
        shape.insert(shape.begin(), -1);
      entry.op << (i ? ", " : "")
               << entry.use(operand + std::to_string(i), ElementType::f32,
                            shape);
    }
  };
  merge.op << "merge outputs(";
  useEach(merge, "o", {1, kHeads, kDim});
  merge.op << ") lses(";
  useEach(merge, "lse", {1, kHeads});
  merge.op << ")";
  merge.yields(ElementType::f32, {1, kHeads, kDim});
  merge.yields(ElementType::f32, {1, kHeads});
  mergeTails.op << "merge_tails ";
  useEach(mergeTails, "tail", {1, kHeads});
  mergeTails.yields(ElementType::f32, {1, kHeads});
}

static double getNorm(const State<float> &state, int64_t head) {
  double squares = 0;
  for (int64_t d = 0; d < kDim; ++d)
    squares += std::pow<double>(state.o(0, head, d), 2);
  return std::sqrt(squares);
}

Node MergeTreeTest::makeShard(float centre, float spread, float size,
                              Random &random) const {
  Node node;
  for (int64_t h = 0; h < kHeads; ++h) {
    float lse = centre + spread * random.normal();
    node.state.lse(0, h) = std::clamp(lse, -kMostLse, kMostLse);
    node.tail(0, h) =
        random.chance(0.2) ? -kInf : lse + 5 * random.normal() - 3;
    for (int64_t d = 0; d < kDim; ++d)
      node.state.o(0, h, d) = size * random.normal();
  }
  return node;
}

Node MergeTreeTest::merge(const std::vector<Node> &children, Random &random) {
  size_t number = children.size();
  const Form *form;
  do
    form = &forms[random.integer(0, std::size(forms) - 1)];
  while (!form->canMerge(number));

  Operands operands, tails;
  size_t next = 0;
  for (size_t i = 0; i < form->isStack.size(); ++i) {
    int64_t size = form->isStack[i] ? number - form->getNumSingle() : 1;
    Shape o = {1, kHeads, kDim}, perHead = {1, kHeads};
    if (form->isStack[i]) {
      o.insert(o.begin(), size);
      perHead.insert(perHead.begin(), size);
    }
    Array<float> allO(o), allLse(perHead), allTail(perHead);
    for (int64_t k = 0; k < size; ++k, ++next) {
      const Node &child = children[next];
      std::copy(child.state.o.data.begin(), child.state.o.data.end(),
                allO.data.begin() + k * kHeads * kDim);
      std::copy(child.state.lse.data.begin(), child.state.lse.data.end(),
                allLse.data.begin() + k * kHeads);
      std::copy(child.tail.data.begin(), child.tail.data.end(),
                allTail.data.begin() + k * kHeads);
      // Whatever the output of an empty state holds has no influence.
      for (int64_t h = 0; h < kHeads; ++h)
        if (child.state.lse(0, h) == -kInf && random.chance(0.5))
          std::fill_n(allO.data.begin() + (k * kHeads + h) * kDim, kDim, kNan);
    }
    operands.set("o" + std::to_string(i), ElementType::f32, allO);
    operands.set("lse" + std::to_string(i), ElementType::f32, allLse);
    tails.set("tail" + std::to_string(i), ElementType::f32, allTail);
  }
  Outputs outputs, tail;
  outputs.emplace_back(ElementType::f32, Shape{1, kHeads, kDim});
  outputs.emplace_back(ElementType::f32, Shape{1, kHeads});
  tail.emplace_back(ElementType::f32, Shape{1, kHeads});
  EXPECT_TRUE(form->merge.call(*module, operands, outputs));
  EXPECT_TRUE(form->mergeTails.call(*module, tails, tail));
  Node node;
  node.state = {outputs[0].toFloats(), outputs[1].toFloats()};
  node.tail = tail[0].toFloats();

  for (int64_t h = 0; h < kHeads; ++h) {
    double states = 0, numTails = 0;
    for (const Node &child : children) {
      states += child.state.lse(0, h) != -kInf;
      numTails += child.tail(0, h) != -kInf;
      node.lseError[h] = std::max(node.lseError[h], child.lseError[h]);
      node.outputError[h] = std::max(node.outputError[h], child.outputError[h]);
      node.tailError[h] = std::max(node.tailError[h], child.tailError[h]);
    }
    if (states > 1) {
      double sum = kUnit * (states + std::log(states) + 4);
      node.outputError[h] +=
          (node.lseError[h] + 2 * sum + 2 * kUnit) * largestNorm[h];
      node.lseError[h] += sum + kUnit * (4 * std::log(states) +
                                         std::fabs(node.state.lse(0, h)));
    }
    if (numTails > 1)
      node.tailError[h] +=
          8 * kUnit * (numTails + 16 + std::fabs(node.tail(0, h)));
  }
  return node;
}

Node MergeTreeTest::makeTree(const std::vector<Node> &shards, Random &random) {
  int64_t number = shards.size();
  // A tree of one shard is a merge of it alone; so is a leaf, now and then.
  if (number == 1)
    return merge(shards, random);
  int64_t arity = style == flat ? number
                  : style == binary || style == chain
                      ? 2
                      : random.integer(2, number);
  // Where each child but the first begins.
  std::vector<int64_t> starts(number - 1);
  std::iota(starts.begin(), starts.end(), 1);
  random.shuffle(starts);
  starts.resize(arity - 1);
  if (style == binary)
    starts = {number / 2};
  if (style == chain)
    starts = {random.chance(0.5) ? 1 : number - 1};
  starts.push_back(0);
  starts.push_back(number);
  std::sort(starts.begin(), starts.end());
  std::vector<Node> children;
  for (int64_t i = 0; i < arity; ++i) {
    std::vector<Node> part(shards.begin() + starts[i],
                           shards.begin() + starts[i + 1]);
    children.push_back(part.size() == 1 && random.chance(0.9)
                           ? part.front()
                           : makeTree(part, random));
  }
  return merge(children, random);
}

void MergeTreeTest::check(const std::vector<Node> &shards, const Node &root) {
  std::vector<State<double>> states;
  for (const Node &shard : shards) {
    State<double> state = State<double>::empty(1, kHeads, kDim);
    state.o.data.assign(shard.state.o.data.begin(), shard.state.o.data.end());
    state.lse.data.assign(shard.state.lse.data.begin(),
                          shard.state.lse.data.end());
    states.push_back(state);
  }
  State<double> expected = vashista::test::merge(states);
  for (int64_t h = 0; h < kHeads; ++h) {
    double lse = expected.lse(0, h), got = root.state.lse(0, h);
    double off = lse == got ? 0 : std::fabs(lse - got);
    // The reference rounds, too.
    double own = 0x1p-50 * std::max(1.0, std::fabs(lse));
    double most = root.lseError[h] == 0 ? 0 : root.lseError[h] + own;
    std::string kind = style == flat ? "flat" : "tree";
    EXPECT_TRUE(findings.include(kind + " lse", off, most))
        << "head " << h << ": lse is " << got << ", expected " << lse << " to "
        << most;
    if (std::isfinite(lse))
      mostUlps = std::max(
          mostUlps,
          off /
              std::ldexp(1.0, std::ilogb(std::max(1.0, std::fabs(lse))) - 23));
    double squares = 0;
    for (int64_t d = 0; d < kDim; ++d)
      squares += std::pow(root.state.o(0, h, d) - expected.o(0, h, d), 2);
    off = std::sqrt(squares);
    most = root.outputError[h] == 0
               ? 0
               : root.outputError[h] + own * largestNorm[h];
    EXPECT_TRUE(findings.include(kind + " o", off, most))
        << "head " << h << ": o is off by " << off << ", expected " << most;
    if (largestNorm[h] > 0) {
      double &most = mostUnits[style == flat];
      most = std::max(most, off / kUnit / largestNorm[h]);
    }

    std::vector<float> tails;
    for (const Node &shard : shards)
      tails.push_back(shard.tail(0, h));
    double tail = mergeTails(tails), above = root.tail(0, h) - tail;
    own = 0x1p-50 * std::max(1.0, std::fabs(tail));
    if (root.tailError[h] == 0)
      EXPECT_EQ(root.tail(0, h), tail);
    else
      EXPECT_TRUE(above >= -own && findings.include(kind + " tails", above,
                                                    root.tailError[h] + own))
          << "head " << h << ": tail is " << root.tail(0, h) << ", expected "
          << tail << " to " << root.tailError[h] << " more";
  }
}

TEST_F(MergeTreeTest, AgreesWithFlatMerge) {
  std::vector<const Entry *> entries;
  for (const Form &form : forms)
    entries.insert(entries.end(), {&form.merge, &form.mergeTails});
  module = compileEntries(entries, CompileOptions());
  ASSERT_TRUE(module);
  uint64_t seed = getEnvironment("VASHISTA_SEED", 1);
  int64_t numTrees = getEnvironment("VASHISTA_TREES", 300);
  constexpr int64_t kPositions = kMostShards * (kMostShards + 1) / 2;
  for (int64_t tree = 0; tree < numTrees && !HasFailure(); ++tree) {
    SCOPED_TRACE(testing::Message() << "tree " << tree << " of seed " << seed);
    Random random({seed, static_cast<uint64_t>(tree)});
    // In any 2080 consecutive trees, each position of each number of shards is
    // empty once at least; a few hundred are spread over them.
    int64_t position = tree * 977 % kPositions, numShards = 1;
    while (position >= numShards)
      position -= numShards++;

    bool isClose = random.chance(0.7);
    float centre = kMostLse * (random.integer(-1000, 1000) / 1000.0f);
    float spread = random.pick({0.0f, 0.1f, 1.0f, 10.0f});
    double empty = random.pick({0.0, 0.1, 0.5, 0.9, 1.0});
    style = random.pick({flat, binary, chain, any, any});
    std::vector<Node> shards;
    for (int64_t i = 0; i < numShards; ++i) {
      float own = kMostLse * (random.integer(-1000, 1000) / 1000.0f);
      Node shard = makeShard(isClose ? centre : own, spread,
                             random.pick({1.0f, 1.0f, 1e-3f, 1e3f}), random);
      shards.push_back(i == position || random.chance(empty) ? Node() : shard);
    }
    largestNorm.assign(kHeads, 0);
    for (const Node &shard : shards)
      for (int64_t h = 0; h < kHeads; ++h)
        largestNorm[h] = std::max(largestNorm[h], getNorm(shard.state, h));

    check(shards, makeTree(shards, random));
    ++findings.counts["trees"];
  }
  findings.counts["failures"] = HasFailure();
  std::printf("sweep: %s\n", findings.toString().c_str());
  std::printf("worst lse: %.1f units in the last place of max(1, abs(lse)); "
              "worst o: %.1f * 2^-24 * max norm(o_k), of flat merges %.1f\n",
              mostUlps, mostUnits[0], mostUnits[1]);
}
