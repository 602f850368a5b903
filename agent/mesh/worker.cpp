// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/worker.hpp"

#include <pthread.h>
#include <sys/epoll.h>

#include <system_error>

#include "agent/mesh/inbound.hpp"
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
    : poller_(std::move(poller)), stats_(stats), view_(std::move(view)), carriage_(*poller_, stats_, carriage),
      around_{*poller_,   kernel,
              stats_,     limits,
              home_netns, carriage.kernel_tls,
              view_,      [this](Joined joined) { carriage_.take(std::move(joined)); }} {}

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

void Worker::add_pod(std::uint64_t netns_cookie, std::shared_ptr<const PodSockets> pod) {
    poller_->post([this, netns_cookie, pod = std::move(pod)] {
        listen(netns_cookie, pod, pod->dial4, start_outbound);
        listen(netns_cookie, pod, pod->dial6, start_outbound);
        listen(netns_cookie, pod, pod->carrier4, start_inbound);
        listen(netns_cookie, pod, pod->carrier6, start_inbound);
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
    });
}

void Worker::close_if(std::function<bool(const ConnectionFacts&)> wanted) {
    poller_->post([this, wanted = std::move(wanted)] { carriage_.close_if(wanted); });
}

void Worker::listen(std::uint64_t netns_cookie, const std::shared_ptr<const PodSockets>& pod, const UniqueFd& fd,
                    Start begin) {
    if (!fd.valid()) {
        return;
    }
    const int raw = fd.get(); // lives as long as `pod`, which the handler holds
    const auto token = std::make_shared<Poller::Token>();
    *token = poller_->add([this, netns_cookie, pod, raw, begin, token](std::uint32_t events) {
        const bool rested = events == 0;
        if (accept(netns_cookie, pod, raw, begin)) {
            if (rested) {
                watch(*token, raw);
            }
            return;
        }
        (void)poller_->watch(*token, raw, 0); // failing, it is asked again at once
        poller_->set_deadline(*token, Poller::Clock::now() + kRest);
    });
    watch(*token, raw);
    listening_.emplace(netns_cookie, Listening{*token, raw});
}

void Worker::watch(Poller::Token token, int fd) {
    // Each connection wakes one worker only.
    if (!poller_->watch(token, fd, EPOLLIN | EPOLLEXCLUSIVE)) {
        poller_->set_deadline(token, Poller::Clock::now() + kRest);
    }
}

bool Worker::accept(std::uint64_t netns_cookie, const std::shared_ptr<const PodSockets>& pod, int fd, Start begin) {
    const auto view = view_();
    const auto workload = view->workloads.find(netns_cookie);
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
        begin(around_, workload->second, pod, std::move(*accepted));
    }
    return true;
}

} // namespace weft::mesh
