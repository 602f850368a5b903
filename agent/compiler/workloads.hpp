// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The policy half of the desired state: this node's workloads with their policies, everybody's identities, and names.
#pragma once

#include "agent/compiler/compiler.hpp"

namespace weft::compiler {

struct PolicyState {
    std::shared_ptr<const PolicyImage> image;
    std::shared_ptr<const Names> names;
    std::vector<store::Refusal> refusals;
};

/// Compiles everything but Services.
PolicyState compile_policy(const store::Snapshot& snapshot, const NodeContext& node);

} // namespace weft::compiler
