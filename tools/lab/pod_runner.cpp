// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The life of one pod as a small state machine:
//   setup -> running <-> back-off -> (stop) terminating -> teardown -> gone
#include "tools/lab/pod_runner.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tools/lab/cgroup.hpp"
#include "tools/lab/netns.hpp"

namespace weft::lab {
namespace {

using std::chrono::milliseconds;

/// 0.5 s, 1 s, 2 s ... 10 s: a kubelet's back-off with a lab's patience.
milliseconds back_off(int failures) {
    return std::min(milliseconds(500) * (1 << std::clamp(failures - 1, 0, 5)), milliseconds(10000));
}

std::string random_uid() {
    std::string uuid;
    std::ifstream("/proc/sys/kernel/random/uuid") >> uuid;
    return uuid;
}

/// A container id as runtimes make them: 64 hex digits.
std::string random_container_id() {
    auto text = random_uid() + random_uid();
    std::erase(text, '-');
    return text;
}

/// In place, not by renaming: the file is bind-mounted into running pods.
void write_in_place(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
}

} // namespace

bool is_external(const k8s::Pod& pod) {
    const auto found = pod.meta.annotations.find(kExternalAnnotation);
    return found != pod.meta.annotations.end() && found->second == "true";
}

PodRunner::PodRunner(std::shared_ptr<PodHost> host, k8s::Pod pod)
    : host_(std::move(host)), pod_(std::move(pod)), external_(is_external(pod_)) {
    const auto& ns = pod_.meta.namespace_name;
    const auto& name = pod_.meta.name;
    const auto& names = host_->names;
    if (pod_.meta.uid.empty()) {
        pod_.meta.uid = random_uid();
    }
    pod_.phase = "Pending";
    pod_.ready = false;
    cni_ = {.namespace_name = ns,
            .name = name,
            .uid = pod_.meta.uid,
            .container_id = random_container_id(),
            .netns = {},
            .wanted = pod_.ips,
            .node = pod_.spec.node_name};
    if (external_) {
        cni_.netns = netns_path(names.external_netns(ns, name));
        cgroup_ = host_->cgroup_mount + "/" + names.external_cgroup(ns, name);
    } else {
        cni_.netns = netns_path(pod_.spec.host_network ? names.node_netns(cni_.node) : names.pod_netns(ns, name));
        cgroup_ = host_->cgroup_mount + "/" + names.pod_cgroup(cni_.node, ns, name);
        pod_.ips.clear(); // published only once it has them
    }
}

PodRunner::~PodRunner() {
    *alive_ = false;
    if (container_.pidfd.valid()) {
        host_->loop->unwatch(container_.pidfd.get());
    }
}

Loop::Call PodRunner::guarded(std::function<void()> call) {
    return [alive = alive_, call = std::move(call)] {
        if (*alive) {
            call();
        }
    };
}

std::string PodRunner::hosts_path() const {
    return host_->names.pod_dir(pod_.meta.namespace_name, pod_.meta.name) + "/hosts";
}

std::string PodRunner::tmp_path() const {
    return host_->names.pod_dir(pod_.meta.namespace_name, pod_.meta.name) + "/tmp";
}

k8s::Pod PodRunner::published() const {
    k8s::Pod pod = pod_;
    pod.ready = ready_;
    pod.meta.deleting = stopping_;
    return pod;
}

void PodRunner::start() {
    state_ = State::kSetup;
    host_->loop->run_elsewhere([this, host = host_, pod = pod_, cni = cni_, cgroup = cgroup_, tmp = tmp_path(),
                                alive = alive_]() -> Loop::Call {
        const auto work = [&]() -> Result<std::vector<Ip>> {
            std::error_code error;
            std::filesystem::create_directories(tmp, error);
            if (error) {
                return failure(error.value(), "cannot make {}: {}", tmp, error.message());
            }
            std::filesystem::permissions(tmp, std::filesystem::perms::all | std::filesystem::perms::sticky_bit, error);
            WEFT_TRY(create_cgroup(cgroup));
            return host->attach(pod, cni);
        };
        auto result = work();
        return [this, alive, result = std::move(result)] {
            if (*alive) {
                attached(result);
            }
        };
    });
}

void PodRunner::notice(std::string message) {
    message_ = std::move(message);
    host_->changed();
}

void PodRunner::attached(Result<std::vector<Ip>> ips) {
    if (stopping_) {
        tear_down();
        return;
    }
    if (!ips) {
        ++failures_;
        notice(ips.error().message());
        host_->loop->after(back_off(failures_), guarded([this] {
                               if (!stopping_) {
                                   start();
                               } else {
                                   tear_down();
                               }
                           }));
        return;
    }
    failures_ = 0;
    pod_.ips = std::move(*ips);
    start_container();
}

void PodRunner::refresh_hosts() {
    if (!pod_.ips.empty()) {
        write_in_place(hosts_path(), host_->hosts(pod_));
    }
}

void PodRunner::start_container() {
    refresh_hosts();
    const auto process = host_->process(pod_);
    const auto log = host_->names.pod_log(pod_.meta.namespace_name, pod_.meta.name);
    auto started = launch({.argv = process.argv,
                           .env = process.env,
                           .netns = cni_.netns,
                           .cgroup = cgroup_,
                           .hostname = pod_.spec.host_network ? "" : pod_.meta.name,
                           .hosts_file = hosts_path(),
                           .tmp_dir = tmp_path(),
                           .log_file = log,
                           .new_session = true});
    if (!started) {
        std::ofstream(log, std::ios::app) << started.error().message() << "\n";
        ++failures_;
        state_ = State::kBackOff;
        host_->loop->after(back_off(failures_), guarded([this] {
                               if (!stopping_) {
                                   start_container();
                               }
                           }));
        notice(started.error().message());
        return;
    }
    container_ = std::move(*started);
    started_ = Loop::Clock::now();
    state_ = State::kRunning;
    pod_.phase = "Running";
    ++generation_;
    host_->loop->watch(container_.pidfd.get(), [this] { container_ended(); });
    message_.clear();
    const auto& probe = pod_.spec.containers.empty() ? std::nullopt : pod_.spec.containers.front().readiness;
    ready_ = !probe.has_value();
    probe_failures_ = 0;
    if (probe) {
        message_ = "waiting for its readiness probe";
        schedule_probe(milliseconds(probe->initial_delay_seconds * 1000 + 50));
    }
    host_->changed();
}

void PodRunner::schedule_probe(milliseconds delay) {
    host_->loop->after(
        delay, guarded([this, generation = generation_] {
            if (generation != generation_ || state_ != State::kRunning) {
                return;
            }
            const auto& container = pod_.spec.containers.front();
            const auto& probe = *container.readiness;
            ProbeTarget target{.node_netns = netns_path(external_ ? host_->names.wire_netns()
                                                                  : host_->names.node_netns(pod_.spec.node_name)),
                               .pod_netns = cni_.netns,
                               .pod_cgroup = cgroup_,
                               .env = host_->process(pod_).env,
                               .ip = pod_.ips.front(),
                               .port = probe_port(probe, container)};
            host_->loop->run_elsewhere([this, alive = alive_, generation, probe, target]() -> Loop::Call {
                auto result = check_readiness(probe, target);
                return [this, alive, generation, result = std::move(result)] {
                    if (*alive && generation == generation_) {
                        probed(result.has_value(), result ? "" : result.error().message());
                    }
                };
            });
        }));
}

void PodRunner::probed(bool success, const std::string& why) {
    if (state_ != State::kRunning) {
        return;
    }
    const auto& probe = *pod_.spec.containers.front().readiness;
    probe_failures_ = success ? 0 : probe_failures_ + 1;
    const bool before = ready_;
    if (success) {
        ready_ = true;
        message_.clear();
    } else {
        message_ = "readiness probe: " + why;
        ready_ = ready_ && probe_failures_ < probe.failure_threshold;
    }
    if (before != ready_) {
        host_->changed();
    }
    // A pod that is not ready is looked at more often than its period, so that nobody waits for nothing.
    const auto period = milliseconds(probe.period_seconds * 1000);
    schedule_probe(ready_ ? period : std::min(period, milliseconds(200)));
}

void PodRunner::container_ended() {
    host_->loop->unwatch(container_.pidfd.get());
    int status = 0;
    (void)::waitpid(container_.pid, &status, 0); // the pidfd said that it ended
    container_ = Child{};
    ready_ = false;
    ++generation_;
    if (auto killed = kill_cgroup(cgroup_); !killed) {
        message_ = killed.error().message(); // helpers of the container live on; teardown tries again
    }
    if (stopping_) {
        tear_down();
        return;
    }
    failures_ = Loop::Clock::now() - started_ > std::chrono::seconds(10) ? 1 : failures_ + 1;
    ++restarts_;
    state_ = State::kBackOff;
    host_->loop->after(back_off(failures_), guarded([this] {
                           if (!stopping_ && state_ == State::kBackOff) {
                               start_container();
                           }
                       }));
    notice(fmt::format("container ended with {}; restarted with back-off", shell_exit_code(status)));
}

Result<> PodRunner::kill_container() {
    if (state_ != State::kRunning) {
        return failure(ESRCH, "pod {}/{} has no running container", pod_.meta.namespace_name, pod_.meta.name);
    }
    return kill_cgroup(cgroup_);
}

void PodRunner::stop() {
    if (stopping_) {
        return;
    }
    stopping_ = true;
    if (state_ == State::kRunning) {
        state_ = State::kTerminating;
        host_->changed();
        // The endpoint is terminating before the process hears of it; a pod that needs longer traps SIGTERM, as it
        // would use a preStop hook.
        host_->loop->after(milliseconds(100), guarded([this] {
                               if (state_ == State::kTerminating && container_.pid > 0) {
                                   (void)::kill(container_.pid,
                                                SIGTERM); // it may have ended by itself; the pidfd tells
                               }
                           }));
        host_->loop->after(std::chrono::seconds(pod_.spec.termination_grace_seconds), guarded([this] {
                               if (state_ == State::kTerminating) {
                                   (void)kill_cgroup(cgroup_); // teardown reports what cannot be killed
                               }
                           }));
    } else if (state_ == State::kBackOff) {
        tear_down();
    }
    // In setup: `attached` or its retry sees `stopping_`.
}

void PodRunner::tear_down() {
    if (state_ == State::kTeardown) {
        return;
    }
    state_ = State::kTeardown;
    host_->changed();
    const auto folder = host_->names.pod_dir(pod_.meta.namespace_name, pod_.meta.name);
    host_->loop->run_elsewhere(
        [this, host = host_, pod = pod_, cni = cni_, cgroup = cgroup_, folder, alive = alive_]() -> Loop::Call {
            auto result = remove_cgroup(cgroup);
            if (auto detached = host->detach(pod, cni); !detached) {
                result = std::move(detached);
            }
            std::error_code error;
            std::filesystem::remove_all(folder, error);
            return [this, alive, result = std::move(result)] {
                if (!*alive) {
                    return;
                }
                if (!result) {
                    // As a kubelet does: the pod is not gone before its network is.
                    message_ = result.error().message();
                    state_ = State::kTerminating;
                    host_->changed();
                    host_->loop->after(milliseconds(1000), guarded([this] { tear_down(); }));
                    return;
                }
                host_->gone(pod_.meta);
            };
        });
}

} // namespace weft::lab
