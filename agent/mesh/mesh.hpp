// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Mutual TLS between nodes, as the agent sees it: which pods have sockets of the agent's inside, and the workers that
// handshake. Thread: control, but for stats().
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/mesh/kernel_state.hpp"
#include "agent/mesh/pod_sockets.hpp"
#include "agent/mesh/recovery.hpp"
#include "agent/mesh/rekey.hpp"
#include "agent/mesh/stats.hpp"
#include "agent/mesh/steering.hpp"
#include "agent/mesh/surroundings.hpp"
#include "agent/mesh/view.hpp"
#include "weft/ktls/probe.hpp"

namespace weft::mesh {

class Worker;

struct MeshOptions {
    std::string cgroup;        ///< a cgroup of our own below the governed one
    std::string pin_dir;
    std::string relay_socket;  ///< of weft-relay; empty: every connection in user space
    std::size_t workers = 2;
    Limits limits;
    KeyLimit key_limit;
    Recovered recovered; ///< what the agent before this one left; see recover()
};

class Mesh {
public:
    /// Starts the workers and proves what the kernel can carry. Errors: threads or descriptors ran out.
    static Result<std::unique_ptr<Mesh>> start(MeshOptions options, KernelState kernel, Stats::OnFailure on_failure);
    ~Mesh();
    Mesh(const Mesh&) = delete;
    Mesh& operator=(const Mesh&) = delete;

    /// The program that steers; after each load of the data path. Gives it to the namespaces that have it already.
    void set_program(int program);
    /// Makes sockets and steering for the workloads of `view`, takes them away from others, and lets new connections go
    /// by it. What could not be made is told once each, and tried again by the next call.
    void update(const std::shared_ptr<const View>& view);

    /// Loopback port of the dial listeners, by netns cookie; pods whose sockets and steering are in place.
    [[nodiscard]] const std::map<std::uint64_t, std::uint16_t>& dial_ports() const { return dial_ports_; }
    /// What is wrong now, one line each.
    [[nodiscard]] const std::vector<std::string>& trouble() const { return trouble_; }
    [[nodiscard]] const ktls::Probe& probe() const { return probe_; }
    /// Handshakes may agree on changing keys: see ContextOptions::rekey.
    [[nodiscard]] bool rekeys() const { return rekeys_; }
    [[nodiscard]] const Stats& stats() const { return stats_; }
    /// See Stats::trace(); any thread.
    void trace(Stats::OnMoment on_moment) { stats_.trace(std::move(on_moment)); }
    /// Resets the connections whose facts satisfy `wanted`, and counts them as closed by a revocation; any thread.
    void close_if(const std::function<bool(const ConnectionFacts&)>& wanted);

private:
    Mesh(MeshOptions options, KernelState kernel, Stats::OnFailure on_failure);
    Result<> open_pod(const Workload& workload);
    /// The pod's sockets: those that were recovered, else new ones.
    Result<PodSockets> sockets_for(const Workload& workload);
    /// Once it is known who takes part: drops what was recovered of pods that have left. Before anything is kept anew,
    /// as listeners have the same numbers then.
    void drop_recovered(const View& view);
    void close_pod(std::uint64_t cookie);

    MeshOptions options_;
    KernelState kernel_;
    Stats stats_;
    Secrets secrets_;
    Steering steering_;
    ktls::Probe probe_;
    bool rekeys_ = false;
    UniqueFd home_netns_;
    int program_ = -1;
    std::shared_ptr<const View> view_;
    std::map<std::uint64_t, std::shared_ptr<const PodSockets>> pods_;
    std::map<std::uint64_t, std::uint16_t> dial_ports_;
    std::vector<std::string> trouble_;
    std::vector<std::unique_ptr<Worker>> workers_; ///< last: they use everything above
};

} // namespace weft::mesh
