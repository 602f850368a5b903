// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/worker.hpp"

#include <pthread.h>
#include <sys/epoll.h>

#include <array>
#include <system_error>
#include <utility>

#include "agent/mesh/inbound.hpp"
#include "agent/mesh/label.hpp"
#include "agent/mesh/outbound.hpp"
#include "agent/mesh/sockets.hpp"

namespace weft::mesh {
namespace {

/// Connections accepted in a row before others are looked at.
constexpr int kAcceptsAtOnce = 16;

/// How long a listener rests when descriptors have run out: connections wait in its queue.
constexpr std::chrono::milliseconds kRest{50};

} // namespace

Worker::Worker(std::unique_ptr<Poller> poller, const KernelState& kernel, Stats& stats, const Limits& limits,
               const CarriageOptions& carriage, int home_netns, ReadView view)
    : poller_(std::move(poller)), stats_(stats), view_(std::move(view)), keeps_listeners_(carriage.watch),
      carriage_(*poller_, stats_, carriage),
      around_{.poller = *poller_,
              .kernel = kernel,
              .stats = stats_,
              .limits = limits,
              .home_netns = home_netns,
              .kernel_tls = carriage.kernel_tls,
              .view = view_,
              .carry = [this](Joined joined) { carriage_.take(std::move(joined)); },
              .keep =
                  [this](std::uint64_t id, int fd, std::uint64_t netns_cookie) {
                      return carriage_.relay().keep(id, fd, write_label(WaitingLabel{netns_cookie}));
                  },
              .drop = [this](std::uint64_t id) { carriage_.relay().drop(id); }} {}

Result<std::unique_ptr<Worker>> Worker::start(const KernelState& kernel, Stats& stats, const Limits& limits,
                                              const CarriageOptions& carriage, int home_netns, ReadView view) {
    WEFT_ASSIGN(auto poller, Poller::create());
    std::unique_ptr<Worker> worker(
        new Worker(std::move(poller), kernel, stats, limits, carriage, home_netns, std::move(view)));
    try {
        worker->thread_ = std::thread([raw = worker.get()] {
            (void)::pthread_setname_np(::pthread_self(), "weft-mesh"); // only a name in `top`
            raw->poller_->run();
        });
    } catch (const std::system_error& error) {
        return failure(error.code().value(), "starting a mesh worker: {}", error.what());
    }
    return worker;
}

Worker::~Worker() {
    if (thread_.joinable()) {
        poller_->stop();
        thread_.join();
    }
}

void Worker::add_pod(std::uint64_t netns_cookie, std::shared_ptr<const PodSockets> pod, std::vector<Waiting> waiting) {
    const auto shared = std::make_shared<Pod>(
        Pod{netns_cookie, std::move(pod), std::move(waiting), Poller::Clock::now() + around_.limits.certificate});
    poller_->post([this, shared] {
        const PodSockets& sockets = *shared->sockets;
        listen(shared, sockets.dial4, start_outbound);
        listen(shared, sockets.dial6, start_outbound);
        listen(shared, sockets.carrier4, start_inbound);
        listen(shared, sockets.carrier6, start_inbound);
        const std::array<const UniqueFd*, kListenerRoles> by_role{&sockets.dial4, &sockets.dial6, &sockets.carrier4,
                                                                  &sockets.carrier6};
        for (int role = 0; keeps_listeners_ && role < kListenerRoles; ++role) {
            const ListenerLabel label{shared->netns_cookie, static_cast<ListenerRole>(role)};
            if (const int fd = by_role[static_cast<std::size_t>(role)]->get(); fd >= 0) {
                carriage_.relay().keep_always(listener_id(label), fd, write_label(label));
            }
        }
    });
}

void Worker::remove_pod(std::uint64_t netns_cookie) {
    poller_->post([this, netns_cookie] {
        const auto [begin, end] = listening_.equal_range(netns_cookie);
        for (auto it = begin; it != end; ++it) {
            (void)poller_->watch(it->second.token, it->second.fd, 0); // failing, it reports to nobody
            poller_->remove(it->second.token);
        }
        listening_.erase(begin, end);
        for (int role = 0; keeps_listeners_ && role < kListenerRoles; ++role) {
            carriage_.relay().drop(listener_id({netns_cookie, static_cast<ListenerRole>(role)}));
        }
    });
}

void Worker::drop_kept(std::vector<std::uint64_t> ids) {
    poller_->post([this, ids = std::move(ids)] {
        for (const auto id : ids) {
            carriage_.relay().drop(id);
        }
    });
}

void Worker::close_if(std::function<bool(const ConnectionFacts&)> wanted) {
    poller_->post([this, wanted = std::move(wanted)] { carriage_.close_if(wanted); });
}

void Worker::listen(const std::shared_ptr<Pod>& pod, const UniqueFd& fd, Start begin) {
    if (!fd.valid()) {
        return;
    }
    const int raw = fd.get(); // lives as long as `pod`, which the handler holds
    const auto token = std::make_shared<Poller::Token>();
    *token = poller_->add([this, pod, raw, begin, token](std::uint32_t events) {
        const bool rested = events == 0;
        if (accept(*pod, raw, begin)) {
            if (rested) {
                watch(*token, raw);
            }
            return;
        }
        (void)poller_->watch(*token, raw, 0); // failing, it is asked again at once
        poller_->set_deadline(*token, Poller::Clock::now() + kRest);
    });
    poller_->set_deadline(*token, Poller::Clock::now()); // what waits in its queue, then it is watched
    listening_.emplace(pod->netns_cookie, Listening{*token, raw});
}

void Worker::watch(Poller::Token token, int fd) {
    // Each connection wakes one worker only.
    if (!poller_->watch(token, fd, EPOLLIN | EPOLLEXCLUSIVE)) {
        poller_->set_deadline(token, Poller::Clock::now() + kRest);
    }
}

bool Worker::certified(Pod& pod) {
    if (pod.patience == Poller::Clock::time_point::min()) {
        return true;
    }
    const auto view = view_();
    const auto workload = view->workloads.find(pod.netns_cookie);
    if (workload != view->workloads.end() && !view->contexts.contains(workload->second->id) &&
        Poller::Clock::now() < pod.patience) {
        return false;
    }
    pod.patience = Poller::Clock::time_point::min();
    return true;
}

void Worker::resume(Pod& pod) {
    const auto view = view_();
    const auto workload = view->workloads.find(pod.netns_cookie);
    for (auto& [id, app] : std::exchange(pod.waiting, {})) {
        if (!app.valid() || workload == view->workloads.end()) {
            reset(app);
            carriage_.relay().drop(id);
            continue;
        }
        resume_outbound(around_, workload->second, pod.sockets, std::move(app), id);
    }
}

bool Worker::accept(Pod& pod, int fd, Start begin) {
    if (!certified(pod)) {
        return false;
    }
    resume(pod);
    const auto view = view_();
    const auto workload = view->workloads.find(pod.netns_cookie);
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
        auto accepted = accept_one(fd);
        if (!accepted) {
            ConnectionFacts facts;
            facts.side = begin == &start_outbound ? Side::kClient : Side::kServer;
            stats_.failed(facts, MeshFailure::kNoResources, accepted.error().message());
            return false;
        }
        if (!accepted->valid()) {
            return true;
        }
        if (workload == view->workloads.end()) {
            reset(*accepted); // it is being taken out of the mesh
            continue;
        }
        begin(around_, workload->second, pod.sockets, std::move(*accepted));
    }
    return true;
}

} // namespace weft::mesh
