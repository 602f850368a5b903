// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which addresses did the plugins before us give the pod? Reads prevResult without changing it: what weft-cni prints
// is what it was given.
#pragma once

#include <string>
#include <vector>

#include "cni-plugin/netconf.hpp"

namespace weft::cni {

/// The container's addresses in prevResult, without prefix length: those of an interface with a sandbox, and those
/// without an interface index. Errors: code 7 naming the faulty field, or saying that weft-cni must be chained when
/// there is no prevResult, or no address of the container in it.
CniResult<std::vector<std::string>> container_addresses(const Json& prev_result);

} // namespace weft::cni
