// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A second opinion on NetworkPolicy: the API reference read aloud, object by object, without maps, identities or any
// code of the compiler. Slow and obvious on purpose.
#pragma once

#include <optional>
#include <vector>

#include "agent/k8s/objects.hpp"

namespace weft::test {

struct NaiveCluster {
    std::vector<k8s::Namespace> namespaces;
    std::vector<k8s::Pod> pods; ///< each with one IPv4 address
    std::vector<k8s::NetworkPolicy> policies;
};

/// One end: a pod, or an address outside the cluster.
struct NaiveEnd {
    const k8s::Pod* pod = nullptr;
    Ip ip;
};

/// May `from` open a connection to `port` of `to`?
bool naive_allowed(const NaiveCluster& cluster, const NaiveEnd& from, const NaiveEnd& to, std::uint8_t protocol,
                   std::uint16_t port);

} // namespace weft::test
