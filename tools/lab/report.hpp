// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What `weft lab status` and the other commands are told about a lab, as JSON. Pure reading.
#pragma once

#include <string>

#include "agent/store/snapshot.hpp"
#include "tools/lab/controller.hpp"
#include "tools/lab/protocol.hpp"

namespace weft::lab {

/// {"lab", "mesh", "nodes": [...], "pods": [...], "services": [...]}.
Json report(const Names& names, const Controller& controller, bool mesh);

/// "FILE:LINE: Pod shop/web: spec.x: what and remedy".
std::string refusal_text(const store::Refusal& refusal);

} // namespace weft::lab
