// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Network namespaces with names, in the place where `ip netns` shows them: make, enter, configure, remove.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::lab {

/// Makes /run/netns/NAME with loopback up, IPv6 duplicate address detection off, and ping for everyone.
/// Error: EEXIST when the name is taken.
Result<> create_netns(const std::string& name);

/// Unmounts and removes the name; the namespace itself goes with its last process. Fine when it does not exist.
Result<> remove_netns(const std::string& name);

/// Names in /run/netns that begin with `prefix`.
std::vector<std::string> list_netns(const std::string& prefix);

/// Runs `work` on a thread of its own inside the namespace at `path`; the caller stays where it is.
Result<> in_netns(const std::string& path, const std::function<Result<>()>& work);

/// Writes settings such as {"net/ipv4/ip_forward", "1"} in the calling thread's network namespace.
Result<> write_sysctls(const std::vector<std::pair<std::string, std::string>>& settings);

/// Runs these lines like ip_batch, each whatever became of those before: for removing what may be gone already.
void ip_batch_best_effort(const std::string& netns, const std::vector<std::string>& lines);

/// Runs `ip -batch` with these lines inside the namespace NAME. Error: ip's own text.
Result<> ip_batch(const std::string& netns, const std::vector<std::string>& lines);

} // namespace weft::lab
