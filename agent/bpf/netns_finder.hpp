// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where is the network namespace with this cookie, when nobody told the agent of it? Looks at named namespaces, then at
// those of processes and threads, then at those that a process holds by a descriptor alone.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace weft::bpf {

/// Paths of the namespaces with these cookies, as many as are found. Reads /proc, so it is for the rare case.
std::map<std::uint64_t, std::string> find_netns(std::set<std::uint64_t> cookies);

} // namespace weft::bpf
