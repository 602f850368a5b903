// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One pod's life on its node, as a kubelet would lead it: namespace and cgroup, CNI ADD, the container's process and
// its restarts, readiness, termination with grace, CNI DEL. Thread: loop; what blocks runs elsewhere.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tools/lab/cni_runner.hpp"
#include "tools/lab/loop.hpp"
#include "tools/lab/pod_env.hpp"
#include "tools/lab/process.hpp"
#include "tools/lab/readiness.hpp"

namespace weft::lab {

/// What the supervisor provides to every pod. All calls on the loop, except `attach` and `detach`, which block and run
/// on worker threads.
struct PodHost {
    Loop* loop = nullptr;
    Names names;
    std::string cgroup_mount = {};
    /// Wires the pod (CNI ADD, or a cable to the wire) and returns its addresses.
    std::function<Result<std::vector<Ip>>(const k8s::Pod& pod, const CniPod& cni)> attach = {};
    /// Takes the wiring away again; must be fine when there is none.
    std::function<Result<>(const k8s::Pod& pod, const CniPod& cni)> detach = {};
    /// The container's command and environment, as the cluster is now.
    std::function<ContainerProcess(const k8s::Pod& pod)> process = {};
    /// /etc/hosts for the pod, as the cluster is now.
    std::function<std::string(const k8s::Pod& pod)> hosts = {};
    /// Something that others can see changed: status, readiness, addresses.
    std::function<void()> changed = {};
    /// The pod is gone and its runner may be destroyed (not from within this call).
    std::function<void(const k8s::Meta& pod)> gone = {};
};

class PodRunner {
public:
    enum class State { kSetup, kRunning, kBackOff, kTerminating, kTeardown };

    /// `pod` with its node chosen; addresses in `pod.ips` are asked for.
    PodRunner(std::shared_ptr<PodHost> host, k8s::Pod pod);
    PodRunner(const PodRunner&) = delete;
    PodRunner& operator=(const PodRunner&) = delete;
    ~PodRunner();

    /// Begins; the Pod object must have been published before.
    void start();
    /// Terminates with grace, then calls `gone`.
    void stop();
    /// Kills the container's processes; it is restarted with back-off.
    Result<> kill_container();
    /// Writes /etc/hosts anew.
    void refresh_hosts();

    /// The Pod with its status as of now.
    [[nodiscard]] k8s::Pod published() const;
    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] bool stopping() const { return stopping_; }
    [[nodiscard]] bool ready() const { return ready_ && !stopping_; }
    [[nodiscard]] int restarts() const { return restarts_; }
    /// Why it is not running or not ready; empty when it is.
    [[nodiscard]] const std::string& message() const { return message_; }
    [[nodiscard]] bool external() const { return external_; }
    [[nodiscard]] std::string netns() const { return cni_.netns; }
    [[nodiscard]] const std::string& cgroup() const { return cgroup_; }
    [[nodiscard]] std::string hosts_path() const;
    [[nodiscard]] std::string tmp_path() const;

private:
    /// A call that does nothing when this runner no longer exists.
    Loop::Call guarded(std::function<void()> call);
    void attached(Result<std::vector<Ip>> ips);
    void start_container();
    void container_ended();
    void schedule_probe(std::chrono::milliseconds delay);
    void probed(bool success, const std::string& why);
    void tear_down();
    void notice(std::string message);

    std::shared_ptr<PodHost> host_;
    k8s::Pod pod_;
    CniPod cni_;
    std::string cgroup_;
    bool external_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

    State state_ = State::kSetup;
    bool stopping_ = false;
    bool ready_ = false;
    Child container_;
    Loop::Clock::time_point started_;
    int restarts_ = 0;
    int failures_ = 0; ///< of setup, or starts in a row
    int probe_failures_ = 0;
    std::uint64_t generation_ = 0; ///< grows with every container start: answers of older probes are dropped
    std::string message_;
};

/// Annotation of a Pod that is a host outside the cluster.
inline constexpr const char* kExternalAnnotation = "weft.dev/lab-external";

/// Whether this Pod is a host outside the cluster.
bool is_external(const k8s::Pod& pod);

} // namespace weft::lab
