// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/inbound.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>

#include <vector>

#include "agent/mesh/sockets.hpp"
#include "weft/abi/socket.h"
#include "weft/ktls/first_flight.hpp"
#include "weft/ktls/install.hpp"

namespace weft::mesh {
namespace {

class Inbound : public std::enable_shared_from_this<Inbound> {
public:
    Inbound(Surroundings& around, std::shared_ptr<const Workload> workload, std::shared_ptr<const PodSockets> pod,
            UniqueFd wire)
        : around_(around), pod_(std::move(pod)), wire_(std::move(wire)) {
        facts_.side = Side::kServer;
        facts_.workload = std::move(workload);
        facts_.began_ns = monotonic_ns();
        facts_.wire_ns = facts_.began_ns;
        ++around_.pending;
    }
    ~Inbound() {
        --around_.pending;
        const auto mine = around_.pending_from.find(Ip(facts_.remote.addr));
        if (counted_ && mine != around_.pending_from.end() && --mine->second == 0) {
            around_.pending_from.erase(mine);
        }
    }
    Inbound(const Inbound&) = delete;
    Inbound& operator=(const Inbound&) = delete;

    void start() {
        tune(wire_.get());
        const auto own = own_end(wire_.get());
        const auto peer = other_end(wire_.get());
        if (!own || !peer) {
            return; // reset already
        }
        facts_.app = *own;
        facts_.remote = *peer;
        around_.stats.moment(facts_, Moment::kAccepted, {}, facts_.began_ns);
        counted_ = true;
        if (++around_.pending_from[Ip(peer->addr)] > around_.limits.pending_from_one) {
            return fail(MeshFailure::kTooMany, "this peer has too many unfinished ones");
        }
        if (around_.pending > around_.limits.pending) {
            return fail(MeshFailure::kTooMany, "the node is busy with others");
        }
        if (around_.kernel_tls) {
            (void)ktls::prepare(wire_.get()); // install() says it again, with the consequence
        }
        token_ = around_.poller.add([self = shared_from_this()](std::uint32_t events) { self->on_event(events); });
        around_.poller.set_deadline(token_, Poller::Clock::now() + (facts_.workload->strict(facts_.app.port)
                                                                        ? around_.limits.handshake
                                                                        : around_.limits.silence));
        watch(wire_, EPOLLIN);
    }

private:
    enum class Stage { kPeeking, kHandshaking, kConnecting };

    void on_event(std::uint32_t events) {
        const auto self = shared_from_this(); // finish() drops the poller's reference
        switch (stage_) {
        case Stage::kPeeking:
            return events == 0 ? on_silence() : peek();
        case Stage::kHandshaking:
            if (events == 0) {
                handshake_->time_out();
                return fail_handshake();
            }
            return go_on();
        case Stage::kConnecting:
            return events == 0 ? fail(MeshFailure::kConnectFailed, "the application did not answer in time")
                               : on_connected();
        }
    }

    void peek() {
        std::vector<std::uint8_t> bytes(ktls::kFirstFlightMost);
        const ssize_t got = ::recv(wire_.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
        if (got < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                finish(); // the peer has reset it: nothing was asked of the application yet
            }
            return;
        }
        const auto size = static_cast<std::size_t>(got);
        const auto answer = ktls::classify_first_flight({bytes.data(), size});
        if (answer == ktls::FirstFlight::kWeft) {
            return begin_handshake();
        }
        const bool ended = size == 0 || size == seen_; // woken without a new byte: the peer has said all
        if (answer == ktls::FirstFlight::kNeedMore && !ended) {
            seen_ = size;
            set_low_water(static_cast<int>(size) + 1); // or the bytes that wait would wake us for ever
            return;
        }
        as_it_came();
    }

    void on_silence() {
        if (facts_.workload->strict(facts_.app.port) || seen_ > 0) {
            facts_.wire_ns = 0;
            around_.stats.failed(facts_, ktls::Failure::kTimeout, "no complete first flight in time");
            return finish();
        }
        as_it_came(); // a protocol in which the server speaks first
    }

    void as_it_came() {
        if (facts_.workload->strict(facts_.app.port)) {
            return fail(MeshFailure::kPlaintext, "the peer's first bytes are no Weft handshake");
        }
        set_low_water(1);
        facts_.carrier = Carrier::kPlaintext;
        around_.stats.moment(facts_, Moment::kPlaintext);
        connect();
    }

    void begin_handshake() {
        set_low_water(1);
        const auto view = around_.view();
        const auto context = view->contexts.find(facts_.workload->id);
        if (context == view->contexts.end()) {
            return fail(MeshFailure::kNoCredentials, "see `weft identity list`");
        }
        ktls::ServerOptions options;
        // Asked only inside step(), so while this object lives.
        options.authorise = [this, view, from = facts_.remote.addr](const ktls::Peer& peer) {
            auto allowed = view->authorise(from, peer);
            if (allowed) {
                around_.stats.moment(facts_, Moment::kProven, peer.id.to_string());
            }
            return allowed;
        };
        own_serial_ = context->second->serial();
        auto handshake = ktls::Handshake::server(context->second, wire_.get(), std::move(options));
        if (!handshake) {
            return fail(MeshFailure::kNoResources, handshake.error().message());
        }
        handshake_.emplace(std::move(*handshake));
        stage_ = Stage::kHandshaking;
        around_.stats.moment(facts_, Moment::kHandshake);
        around_.poller.set_deadline(token_, Poller::Clock::now() + around_.limits.handshake);
        go_on();
    }

    void go_on() {
        switch (handshake_->step()) {
        case ktls::Step::kWantRead:
            return watch(wire_, EPOLLIN);
        case ktls::Step::kWantWrite:
            return watch(wire_, EPOLLOUT);
        case ktls::Step::kFailed:
            return fail_handshake();
        case ktls::Step::kDone:
            break;
        }
        const ktls::Established& done = handshake_->established();
        facts_.handshake_ns = monotonic_ns();
        facts_.peer = done.peer.id;
        facts_.peer_serial = done.peer.serial;
        facts_.own_serial = own_serial_;
        facts_.cipher = ktls::cipher_name(done.traffic.cipher);
        facts_.group = done.group;
        facts_.resumed = done.resumed;
        around_.stats.moment(facts_, Moment::kEstablished, {}, facts_.handshake_ns);
        connect();
    }

    void connect() {
        stage_ = Stage::kConnecting;
        watch(wire_, EPOLLET); // only whether the peer resets it: its bytes wait in the socket
        if (const auto begun = begin_connect(); !begun) {
            fail(MeshFailure::kConnectFailed, begun.error().message());
        }
    }

    Result<> begin_connect() {
        WEFT_ASSIGN(app_, socket_in(pod_->netns.get(), around_.home_netns, family_of(facts_.app.addr)));
        WEFT_TRY(around_.kernel.mark(app_.get(), facts_.workload->netns_cookie, WEFT_SOCKET_AGENT));
        tune(app_.get());
        const SocketAddress from(weft_addr_port{facts_.app.addr, 0, IPPROTO_TCP, 0});
        if (::bind(app_.get(), from.get(), from.size) != 0) {
            return system_failure("binding to {}", Ip(facts_.app.addr).to_string());
        }
        WEFT_ASSIGN(inner_, own_end(app_.get()));
        WEFT_TRY(around_.kernel.announce_peer(facts_.workload->netns_cookie, inner_, facts_.remote,
                                              facts_.carrier == Carrier::kPlaintext));
        around_.poller.set_deadline(token_, Poller::Clock::now() + around_.limits.connect);
        const SocketAddress to(facts_.app);
        if (::connect(app_.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) {
            return system_failure("connecting to the application at {}", to_string(facts_.app));
        }
        return around_.poller.watch(token_, app_.get(), EPOLLOUT);
    }

    void on_connected() {
        if (connect_error(wire_.get()) != 0) {
            return finish(); // the peer has reset it
        }
        if (const int error = connect_error(app_.get()); error != 0) {
            return fail(MeshFailure::kConnectFailed,
                        fmt::format("the application at {}: {}", to_string(facts_.app), std::strerror(error)));
        }
        if (!other_end(app_.get())) {
            return; // an event of the wire: still connecting
        }
        around_.stats.moment(facts_, Moment::kApplication);
        // The handshake went by the view of its beginning; what was taken back since then ends before it carries.
        if (handshake_) {
            const auto view = around_.view();
            if (const auto still = view->authorise(facts_.remote.addr, handshake_->established().peer);
                !still || view->is_revoked(facts_.workload->id, facts_.own_serial)) {
                around_.stats.failed(facts_, ktls::Failure::kIdentityRefused,
                                     still ? "the own certificate is revoked" : still.error().message());
                return finish();
            }
        }
        // Failing, the descriptor reports to a number that nobody has any more.
        (void)around_.poller.watch(token_, wire_.get(), 0);
        (void)around_.poller.watch(token_, app_.get(), 0);
        around_.carry({std::move(app_), std::move(wire_), std::move(handshake_), facts_});
        finish();
    }

    void watch(const UniqueFd& fd, std::uint32_t events) {
        if (const auto watched = around_.poller.watch(token_, fd.get(), events); !watched) {
            fail(MeshFailure::kNoResources, watched.error().message());
        }
    }

    void set_low_water(int bytes) {
        (void)::setsockopt(wire_.get(), SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); // costs wake-ups, if it fails
    }

    void fail_handshake() {
        const auto& failure = handshake_->failure();
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
            around_.kernel.forget_peer(facts_.workload->netns_cookie, inner_);
        }
        reset(app_);
        reset(wire_);
        if (token_ != 0) {
            around_.poller.remove(token_);
            token_ = 0;
        }
    }

    Surroundings& around_;
    std::shared_ptr<const PodSockets> pod_;
    UniqueFd wire_;
    UniqueFd app_;
    weft_addr_port inner_{}; ///< the agent's end of the connection to the application
    std::optional<ktls::Handshake> handshake_;
    ConnectionFacts facts_;
    std::string own_serial_;
    std::size_t seen_ = 0; ///< bytes of the first flight so far
    bool counted_ = false; ///< in pending_from
    Stage stage_ = Stage::kPeeking;
    Poller::Token token_ = 0;
};

} // namespace

void start_inbound(Surroundings& around, std::shared_ptr<const Workload> workload,
                   std::shared_ptr<const PodSockets> pod, UniqueFd wire) {
    std::make_shared<Inbound>(around, std::move(workload), std::move(pod), std::move(wire))->start();
}

} // namespace weft::mesh
