// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/mesh.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <utility>

#include "agent/mesh/label.hpp"
#include "agent/mesh/sockets.hpp"
#include "agent/mesh/worker.hpp"
#include "weft/abi/socket.h"

namespace weft::mesh {

Mesh::Mesh(MeshOptions options, KernelState kernel, Stats::OnFailure on_failure)
    : options_(std::move(options)), kernel_(std::move(kernel)), stats_(std::move(on_failure)),
      steering_(bpf::PinLayout(options_.pin_dir)), view_(std::make_shared<const View>()) {}

Mesh::~Mesh() = default;

Result<std::unique_ptr<Mesh>> Mesh::start(MeshOptions options, KernelState kernel, Stats::OnFailure on_failure) {
    std::unique_ptr<Mesh> mesh(new Mesh(std::move(options), std::move(kernel), std::move(on_failure)));
    if (::mkdir(mesh->options_.cgroup.c_str(), 0755) != 0 && errno != EEXIST) {
        return system_failure("making cgroup {}", mesh->options_.cgroup);
    }
    mesh->home_netns_.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!mesh->home_netns_.valid()) {
        return system_failure("opening the agent's own network namespace");
    }
    mesh->probe_ = ktls::probe_kernel();
    CarriageOptions carriage;
    carriage.kernel_tls = mesh->probe_.tier == ktls::Tier::kRelay && !mesh->options_.relay_socket.empty();
    carriage.ciphers = mesh->probe_.ciphers;
    carriage.rekey = mesh->rekeys_ = mesh->probe_.rekey && carriage.kernel_tls;
    carriage.key_limit = mesh->options_.key_limit;
    carriage.secrets = &mesh->secrets_;
    carriage.relay_socket = mesh->options_.relay_socket;
    for (std::size_t i = 0; i < std::max<std::size_t>(mesh->options_.workers, 1); ++i) {
        carriage.watch = i == 0;
        WEFT_ASSIGN(auto worker,
                    Worker::start(mesh->kernel_, mesh->stats_, mesh->options_.limits, carriage, mesh->home_netns_.get(),
                                  [raw = mesh.get()] { return std::atomic_load(&raw->view_); }));
        mesh->workers_.push_back(std::move(worker));
    }
    return mesh;
}

void Mesh::set_program(int program) {
    program_ = program;
    for (const auto& [cookie, pod] : pods_) {
        if (auto attached = steering_.attach(cookie, pod->netns.get(), program_); !attached) {
            trouble_.push_back(attached.error().message());
        }
    }
}

Result<PodSockets> Mesh::sockets_for(const Workload& workload) {
    auto found = options_.recovered.pods.find(workload.netns_cookie);
    if (found == options_.recovered.pods.end()) {
        return make_pod_sockets(workload.netns_path, options_.cgroup);
    }
    UniqueFd netns(::open(workload.netns_path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) {
        return system_failure("opening network namespace {}", workload.netns_path);
    }
    PodSockets sockets = std::move(found->second);
    options_.recovered.pods.erase(found);
    sockets.netns = std::move(netns);
    return sockets;
}

void Mesh::drop_recovered(const View& view) {
    auto& [pods, waiting, useless] = options_.recovered;
    const auto stays = [&](std::uint64_t cookie) { return view.workloads.contains(cookie); };
    for (const auto& [cookie, sockets] : pods) {
        for (int role = 0; !stays(cookie) && role < kListenerRoles; ++role) {
            useless.push_back(listener_id({cookie, static_cast<ListenerRole>(role)}));
        }
    }
    for (auto& [cookie, connections] : waiting) {
        for (auto one = connections.begin(); !stays(cookie) && one != connections.end(); ++one) {
            reset(one->app);
            useless.push_back(one->id);
        }
    }
    std::erase_if(pods, [&](const auto& one) { return !stays(one.first); });
    std::erase_if(waiting, [&](const auto& one) { return !stays(one.first); });
    if (!useless.empty()) {
        workers_.front()->drop_kept(std::exchange(useless, {}));
    }
}

Result<> Mesh::open_pod(const Workload& workload) {
    WEFT_ASSIGN(auto made, sockets_for(workload));
    for (const auto* fd : {&made.dial4, &made.dial6}) {
        if (fd->valid()) {
            WEFT_TRY(kernel_.mark(fd->get(), workload.netns_cookie, WEFT_SOCKET_AGENT));
        }
    }
    for (const auto* fd : {&made.carrier4, &made.carrier6}) {
        if (fd->valid()) {
            WEFT_TRY(kernel_.mark(fd->get(), workload.netns_cookie, WEFT_SOCKET_CARRIER));
            WEFT_TRY(kernel_.set_listener(workload.netns_cookie, fd == &made.carrier4 ? AF_INET : AF_INET6, fd->get()));
        }
    }
    WEFT_TRY(steering_.attach(workload.netns_cookie, made.netns.get(), program_));
    const auto pod = std::make_shared<const PodSockets>(std::move(made));
    pods_[workload.netns_cookie] = pod;
    dial_ports_[workload.netns_cookie] = pod->dial_port;
    auto waiting = options_.recovered.waiting.extract(workload.netns_cookie);
    for (const auto& worker : workers_) {
        worker->add_pod(workload.netns_cookie, pod,
                        worker == workers_.front() && waiting ? std::move(waiting.mapped()) : std::vector<Waiting>());
    }
    return {};
}

void Mesh::close_pod(std::uint64_t cookie) {
    if (auto detached = steering_.detach(cookie); !detached) {
        trouble_.push_back(detached.error().message());
    }
    kernel_.remove_listener(cookie, AF_INET);
    kernel_.remove_listener(cookie, AF_INET6);
    for (const auto& worker : workers_) {
        worker->remove_pod(cookie);
    }
    pods_.erase(cookie);
    dial_ports_.erase(cookie);
}

void Mesh::update(const std::shared_ptr<const View>& view) {
    trouble_.clear();
    std::vector<std::uint64_t> gone;
    for (const auto& [cookie, pod] : pods_) {
        if (!view->workloads.contains(cookie)) {
            gone.push_back(cookie);
        }
    }
    std::atomic_store(&view_, view);
    std::ranges::for_each(gone, [this](std::uint64_t cookie) { close_pod(cookie); });
    drop_recovered(*view);
    std::set<std::uint64_t> wanted;
    std::set<SpiffeId> ids;
    for (const auto& [cookie, workload] : view->workloads) {
        ids.insert(workload->id);
        wanted.insert(cookie);
        if (pods_.contains(cookie)) {
            continue;
        }
        if (auto opened = open_pod(*workload); !opened) {
            trouble_.push_back(fmt::format("pod {}: {}", workload->name(), opened.error().message()));
        }
    }
    stats_.keep_principals(ids);
    if (auto kept = steering_.keep_only(wanted); !kept) {
        trouble_.push_back(kept.error().message());
    }
}

void Mesh::close_if(const std::function<bool(const ConnectionFacts&)>& wanted) {
    for (const auto& worker : workers_) {
        worker->close_if(wanted);
    }
}

} // namespace weft::mesh
