// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do the kernel's sums of connections become series? Numbers get Istio's L4 labels; sums with the same labels are
// one series. Pure: no kernel, no clock. Names of what is gone are kept as long as the kernel has sums of it.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/bpf/traffic.hpp"
#include "agent/compiler/desired_state.hpp"

namespace weft::telemetry {

/// One end of a connection, in Istio's words; "unknown" where nothing is known.
struct TrafficEnd {
    std::string workload = "unknown", namespace_name = "unknown";
    std::string principal = "unknown"; ///< SPIFFE ID that a handshake proves
    std::string app = "unknown", version = "unknown";
    std::string canonical_service = "unknown", canonical_revision = "latest";
    std::string cluster = "unknown";
};

class TrafficNames {
public:
    /// `trust_domain`: first part of principals; `cluster`: value of source_cluster and destination_cluster.
    TrafficNames(std::string trust_domain, std::string cluster);

    /// Learns the names of everything that `all` refers to, and forgets those that it does not.
    void learn(const compiler::DesiredState& desired, const std::vector<bpf::Traffic>& all);
    /// Appends the four istio_tcp_* families in Prometheus' text format.
    void print(const std::vector<bpf::Traffic>& all, std::string& page) const;

private:
    struct Service {
        std::string name, namespace_name;
    };
    [[nodiscard]] std::string labels(const weft_traffic_key& key) const;

    std::string trust_domain_, cluster_;
    std::unordered_map<std::uint64_t, TrafficEnd> ends_; ///< by identity
    std::unordered_map<std::uint64_t, Service> services_;
};

/// Is what a sum refers to still there? Made once for many questions; `desired` must outlive it.
class CurrentIdentities {
public:
    explicit CurrentIdentities(const compiler::DesiredState& desired);
    /// Does a workload of this node have this identity?
    [[nodiscard]] bool runs_here(std::uint64_t identity) const { return local_.contains(identity); }
    /// ... and is the peer somebody of the cluster, or nobody in particular?
    [[nodiscard]] bool holds(const weft_traffic_key& key) const;

private:
    const compiler::DesiredState& desired_;
    std::unordered_set<std::uint64_t> local_;
};

/// Name of what made the Pod, from the labels that its controllers give it; without: its label app.kubernetes.io/name
/// or app, else its own name.
std::string workload_name(const compiler::Names::Workload& pod);

} // namespace weft::telemetry
