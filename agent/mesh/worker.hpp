// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One thread that accepts and handshakes; a connection never changes its worker until it carries bytes.
// Thread: any for the public part; everything else belongs to the worker's own.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "agent/mesh/carriage.hpp"
#include "agent/mesh/pod_sockets.hpp"
#include "agent/mesh/recovery.hpp"
#include "agent/mesh/surroundings.hpp"

namespace weft::mesh {

class Worker {
public:
    using ReadView = std::function<std::shared_ptr<const View>()>;
    /// All references must outlive the worker.
    static Result<std::unique_ptr<Worker>> start(const KernelState& kernel, Stats& stats, const Limits& limits,
                                                 const CarriageOptions& carriage, int home_netns, ReadView view);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// Accepts from the pod's listeners, together with the other workers. `waiting`: connections that an agent before
    /// this one has accepted; they come first.
    void add_pod(std::uint64_t netns_cookie, std::shared_ptr<const PodSockets> pod, std::vector<Waiting> waiting = {});
    /// Stops accepting; connections that exist go on.
    void remove_pod(std::uint64_t netns_cookie);
    void close_if(std::function<bool(const ConnectionFacts&)> wanted);
    /// Has weft-relay close what it keeps under these numbers; only of the worker that watches it.
    void drop_kept(std::vector<std::uint64_t> ids);

private:
    Worker(std::unique_ptr<Poller> poller, const KernelState& kernel, Stats& stats, const Limits& limits,
           const CarriageOptions& carriage, int home_netns, ReadView view);
    using Start = void (*)(Surroundings&, std::shared_ptr<const Workload>, std::shared_ptr<const PodSockets>, UniqueFd);
    /// A pod whose listeners this worker accepts from.
    struct Pod {
        std::uint64_t netns_cookie;
        std::shared_ptr<const PodSockets> sockets;
        std::vector<Waiting> waiting;
        Poller::Clock::time_point patience; ///< until then its connections wait for the first certificate
    };
    void listen(const std::shared_ptr<Pod>& pod, const UniqueFd& fd, Start begin);
    void watch(Poller::Token token, int fd);
    /// The workload has a certificate, or has had one, or had time enough to get one.
    bool certified(Pod& pod);
    void resume(Pod& pod);
    /// False when descriptors have run out, or connections have to wait for a certificate.
    bool accept(Pod& pod, int fd, Start begin);

    std::unique_ptr<Poller> poller_;
    Stats& stats_;
    ReadView view_;
    bool keeps_listeners_; ///< at weft-relay
    Carriage carriage_;
    Surroundings around_;
    struct Listening {
        Poller::Token token;
        int fd;
    };
    std::unordered_multimap<std::uint64_t, Listening> listening_;
    std::thread thread_;
};

} // namespace weft::mesh
