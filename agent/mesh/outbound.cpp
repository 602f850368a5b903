// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/outbound.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>

#include <array>
#include <utility>

#include "agent/mesh/sockets.hpp"
#include "weft/abi/socket.h"
#include "weft/ktls/install.hpp"

namespace weft::mesh {
namespace {

/// A peer whose agent was killed has lost the handshake, and nothing else: its listener still queues. So try again.
/// Likewise an application that hung up on a hello: its node has not heard yet that we dial by mutual TLS.
constexpr std::array kRetries{std::chrono::milliseconds(20), std::chrono::milliseconds(200),
                              std::chrono::milliseconds(1000)};

class Outbound : public std::enable_shared_from_this<Outbound> {
public:
    Outbound(Surroundings& around, std::shared_ptr<const Workload> workload, std::shared_ptr<const PodSockets> pod,
             UniqueFd app, std::uint64_t kept_id)
        : around_(around), pod_(std::move(pod)), app_(std::move(app)), kept_(kept_id != 0) {
        facts_.side = Side::kClient;
        facts_.id = kept_ ? kept_id : around_.stats.reserve();
        facts_.workload = std::move(workload);
        facts_.began_ns = accepted_ns_ = monotonic_ns();
        ++around_.pending;
    }
    ~Outbound() { --around_.pending; }
    Outbound(const Outbound&) = delete;
    Outbound& operator=(const Outbound&) = delete;

    void start() {
        kept_ = kept_ || around_.keep(facts_.id, app_.get(), facts_.workload->netns_cookie);
        tune(app_.get());
        const auto from = other_end(app_.get());
        if (!from) {
            return finish(); // the application is gone already
        }
        facts_.app = *from;
        const auto dial = around_.kernel.dial(facts_.workload->netns_cookie, *from);
        if (!dial || !*dial) {
            return fail(MeshFailure::kNotDialled, dial ? "no hook has seen it" : dial.error().message());
        }
        facts_.remote = (*dial)->backend;
        facts_.asked = (*dial)->asked;
        facts_.cookie = (*dial)->cookie;
        facts_.began_ns = static_cast<std::int64_t>((*dial)->connect_ns);
        around_.stats.moment(facts_, Moment::kAccepted, {}, accepted_ns_);
        const auto view = around_.view();
        const Ip target(facts_.remote.addr);
        if (const auto peer = view->peers.find(target); peer != view->peers.end()) {
            facts_.peer = peer->second;
            expected_ = peer->second.to_string();
        } else if (const auto* domain = view->foreign_domain(target); domain != nullptr) {
            expected_ = "spiffe://" + *domain; // which of its workloads it is, only the handshake tells
        } else {
            return fail(MeshFailure::kUnknownPeer, "neither a Pod nor another trust domain is known at that address");
        }
        const auto context = view->contexts.find(facts_.workload->id);
        if (context == view->contexts.end()) {
            return fail(MeshFailure::kNoCredentials, "see `weft identity list`");
        }
        context_ = context->second;
        if (around_.pending > around_.limits.pending) {
            return fail(MeshFailure::kTooMany, "the node is busy with others");
        }
        token_ = around_.poller.add([self = shared_from_this()](std::uint32_t events) { self->on_event(events); });
        // Only whether the application has reset it: its bytes wait in its socket.
        if (const auto watched = around_.poller.watch(token_, app_.get(), EPOLLET); !watched) {
            return fail(MeshFailure::kNoResources, watched.error().message());
        }
        begin();
    }

private:
    void begin() {
        if (const auto connected = connect(); !connected) {
            fail(MeshFailure::kConnectFailed, connected.error().message());
        }
    }

    Result<> connect() {
        WEFT_ASSIGN(wire_, socket_in(pod_->netns.get(), around_.home_netns, family_of(facts_.remote.addr)));
        WEFT_TRY(around_.kernel.mark(wire_.get(), facts_.workload->netns_cookie, WEFT_SOCKET_AGENT));
        tune(wire_.get());
        // The wire shows the port that the application has. Somebody else may have it on this address: then any other.
        const bool v4 = Ip(facts_.remote.addr).is_v4();
        const weft_addr own = (v4 ? facts_.workload->addr4 : facts_.workload->addr6).raw();
        for (const std::uint16_t port : {facts_.app.port, std::uint16_t{0}}) {
            const SocketAddress at(weft_addr_port{own, port, IPPROTO_TCP, 0});
            if (::bind(wire_.get(), at.get(), at.size) == 0) {
                break;
            }
        }
        const SocketAddress to(facts_.remote);
        around_.stats.moment(facts_, Moment::kDialled);
        around_.poller.set_deadline(token_, Poller::Clock::now() + around_.limits.connect);
        if (::connect(wire_.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) {
            return system_failure("connecting to {}", to_string(facts_.remote));
        }
        return around_.poller.watch(token_, wire_.get(), EPOLLOUT);
    }

    void on_event(std::uint32_t events) {
        const auto self = shared_from_this(); // finish() drops the poller's reference
        if (events == 0) {
            if (!wire_.valid()) {
                return begin(); // once more
            }
            if (handshake_) {
                handshake_->time_out();
                return fail_handshake();
            }
            return fail(MeshFailure::kConnectFailed, "no answer in time");
        }
        if (connect_error(app_.get()) != 0) { // reset by the application
            return finish();
        }
        if (!wire_.valid()) {
            return; // resting before the next attempt
        }
        if (!handshake_ && !begin_handshake()) {
            return;
        }
        switch (handshake_->step()) {
        case ktls::Step::kWantRead:
            return wait_for(EPOLLIN);
        case ktls::Step::kWantWrite:
            return wait_for(EPOLLOUT);
        case ktls::Step::kFailed:
            return fail_handshake();
        case ktls::Step::kDone:
            return carry();
        }
    }

    /// True when the connection stands and the handshake can go on.
    bool begin_handshake() {
        if (const int error = connect_error(wire_.get()); error != 0) {
            fail(MeshFailure::kConnectFailed, std::strerror(error));
            return false;
        }
        if (!other_end(wire_.get())) {
            return false; // an event of the application's end: still connecting
        }
        facts_.wire_ns = monotonic_ns();
        around_.stats.moment(facts_, Moment::kConnected, {}, facts_.wire_ns);
        if (around_.kernel_tls) {
            (void)ktls::prepare(wire_.get()); // install() says it again, with the consequence
        }
        ktls::ClientOptions options;
        // Asked only inside step(), so while this object lives.
        options.authorise = [this, view = around_.view(), at = facts_.remote.addr](const ktls::Peer& peer) {
            auto allowed = view->authorise(at, peer);
            if (allowed) {
                around_.stats.moment(facts_, Moment::kProven, peer.id.to_string());
            }
            return allowed;
        };
        options.server = facts_.peer;
        options.resumption_key = expected_ + " " + to_string(facts_.remote);
        auto handshake = ktls::Handshake::client(context_, wire_.get(), std::move(options));
        if (!handshake) {
            fail(MeshFailure::kNoResources, handshake.error().message());
            return false;
        }
        handshake_.emplace(std::move(*handshake));
        around_.poller.set_deadline(token_, Poller::Clock::now() + around_.limits.handshake);
        return true;
    }

    void wait_for(std::uint32_t events) {
        if (const auto watched = around_.poller.watch(token_, wire_.get(), events); !watched) {
            fail(MeshFailure::kNoResources, watched.error().message());
        }
    }

    void carry() {
        const ktls::Established& done = handshake_->established();
        facts_.handshake_ns = monotonic_ns();
        facts_.peer = done.peer.id;
        facts_.peer_serial = done.peer.serial;
        facts_.own_serial = context_->serial();
        facts_.cipher = ktls::cipher_name(done.traffic.cipher);
        facts_.group = done.group;
        facts_.resumed = done.resumed;
        around_.stats.moment(facts_, Moment::kEstablished, {}, facts_.handshake_ns);
        // The handshake went by the view of its beginning; what was taken back since then ends before it carries.
        const auto view = around_.view();
        if (const auto still = view->authorise(facts_.remote.addr, done.peer);
            !still || view->is_revoked(facts_.workload->id, facts_.own_serial)) {
            around_.stats.failed(facts_, ktls::Failure::kIdentityRefused,
                                 still ? "the own certificate is revoked" : still.error().message());
            return finish();
        }
        release_descriptors();
        around_.kernel.forget_dial(facts_.workload->netns_cookie, facts_.app);
        around_.carry({std::move(app_), std::move(wire_), std::move(handshake_), facts_, std::exchange(kept_, false)});
        finish();
    }

    void release_descriptors() {
        // Failing, the descriptor reports to a number that nobody has any more.
        (void)around_.poller.watch(token_, app_.get(), 0);
        (void)around_.poller.watch(token_, wire_.get(), 0);
    }

    void fail_handshake() {
        const auto& failure = handshake_->failure();
        // No alert: nobody has refused. What the application has sent is still unread, so beginning anew loses nothing.
        if ((failure.reason == ktls::Failure::kEof || failure.reason == ktls::Failure::kReset) &&
            attempts_ < kRetries.size()) {
            handshake_.reset();
            reset(wire_);
            around_.poller.set_deadline(token_, Poller::Clock::now() + kRetries[attempts_++]);
            return;
        }
        if (failure.peer) {
            facts_.peer = failure.peer->id;
            facts_.peer_serial = failure.peer->serial;
        }
        around_.stats.failed(facts_, failure.reason, failure.detail);
        finish();
    }

    void fail(MeshFailure reason, const std::string& detail) {
        around_.stats.failed(facts_, reason, detail);
        finish();
    }

    /// The end of this object's part; what it still has is reset.
    void finish() {
        handshake_.reset();
        if (app_.valid()) {
            around_.kernel.forget_dial(facts_.workload->netns_cookie, facts_.app);
        }
        reset(app_);
        if (std::exchange(kept_, false)) {
            around_.drop(facts_.id);
        }
        reset(wire_);
        if (token_ != 0) {
            around_.poller.remove(token_);
            token_ = 0;
        }
    }

    Surroundings& around_;
    std::shared_ptr<const PodSockets> pod_;
    std::shared_ptr<const ktls::Context> context_;
    UniqueFd app_;
    UniqueFd wire_;
    std::optional<ktls::Handshake> handshake_;
    ConnectionFacts facts_;
    std::string expected_; ///< the identity that the peer must have, or another trust domain, any of whose it may have
    bool kept_; ///< weft-relay holds `app_`, too
    std::size_t attempts_ = 0;
    std::int64_t accepted_ns_ = 0;
    Poller::Token token_ = 0;
};

} // namespace

void start_outbound(Surroundings& around, std::shared_ptr<const Workload> workload,
                    std::shared_ptr<const PodSockets> pod, UniqueFd app) {
    std::make_shared<Outbound>(around, std::move(workload), std::move(pod), std::move(app), 0)->start();
}

void resume_outbound(Surroundings& around, std::shared_ptr<const Workload> workload,
                     std::shared_ptr<const PodSockets> pod, UniqueFd app, std::uint64_t id) {
    std::make_shared<Outbound>(around, std::move(workload), std::move(pod), std::move(app), id)->start();
}

} // namespace weft::mesh
