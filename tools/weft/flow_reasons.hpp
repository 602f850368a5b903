// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which words does a flow's reason have? All that the hooks and mutual TLS may tell.
#pragma once

#include <set>
#include <string>

namespace weft::cli {

/// Sorted; those after which traffic went on are left out, as no flow tells them.
const std::set<std::string>& flow_reasons();

} // namespace weft::cli
