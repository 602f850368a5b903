// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The enrolment server's thread: one epoll loop over the listener, a wake-up descriptor and at most
// max_connections connections, each of which reads one frame, waits for its answer, writes it and closes.
#include "agent/enrol/server.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "agent/enrol/frame.hpp"
#include "agent/enrol/socket.hpp"

namespace weft::enrol {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kListener = 0;
constexpr std::uint64_t kWake = 1;
constexpr std::uint64_t kFirstConnection = 2;

Response refusal(Response::Code code, std::string message) {
    Response response;
    response.set_code(code);
    response.set_message(std::move(message));
    return response;
}

/// Where answers from other threads wait for the loop. Shared with every Reply, so it outlives the server.
class Mailbox {
public:
    explicit Mailbox(UniqueFd wake) : wake_(std::move(wake)) {}
    [[nodiscard]] int fd() const { return wake_.get(); }

    void put(std::uint64_t connection, Response response) {
        {
            const std::lock_guard lock(mutex_);
            answers_.emplace_back(connection, std::move(response));
        }
        wake();
    }
    void wake() {
        const std::uint64_t one = 1;
        (void)!::write(wake_.get(), &one, sizeof one); // EAGAIN: it is awake already
    }
    std::vector<std::pair<std::uint64_t, Response>> take() {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof count); // EAGAIN: nothing new, which the empty list says as well
        const std::lock_guard lock(mutex_);
        return std::exchange(answers_, {});
    }

private:
    UniqueFd wake_;
    std::mutex mutex_; // answers come from the control thread, the loop must not wait for it: held for a push only
    std::vector<std::pair<std::uint64_t, Response>> answers_;
};

} // namespace

class EnrolServer::Loop {
public:
    Loop(ServerOptions options, EnrolHandler& handler, ListenSocket listener, UniqueFd epoll, UniqueFd wake)
        : options_(std::move(options)), handler_(handler), listener_(std::move(listener)), epoll_(std::move(epoll)),
          mailbox_(std::make_shared<Mailbox>(std::move(wake))) {}
    ~Loop() { unlink_unix(options_.path, listener_); }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    [[nodiscard]] const std::string& path() const { return options_.path; }

    Result<> arm() {
        WEFT_TRY(watch(listener_.fd.get(), kListener, EPOLLIN, EPOLL_CTL_ADD));
        return watch(mailbox_->fd(), kWake, EPOLLIN, EPOLL_CTL_ADD);
    }

    void run() {
        std::array<epoll_event, 32> events{};
        while (!stopping_.load(std::memory_order_acquire)) {
            const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms());
            for (int i = 0; i < count; ++i) {
                dispatch(events[static_cast<std::size_t>(i)]);
            }
            expire();
            listen_if_room();
        }
    }

    void stop() {
        stopping_.store(true, std::memory_order_release);
        mailbox_->wake();
    }

private:
    enum class State { kReading, kWaiting, kWriting };
    struct Connection {
        UniqueFd fd;
        State state = State::kReading;
        FrameDecoder decoder;
        std::string out;
        std::size_t written = 0;
        Clock::time_point deadline;
    };

    Result<> watch(int fd, std::uint64_t id, std::uint32_t events, int operation) {
        epoll_event event{};
        event.events = events;
        event.data.u64 = id;
        if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) {
            return system_failure("epoll_ctl");
        }
        return {};
    }

    [[nodiscard]] int wait_ms() const {
        if (connections_.empty()) {
            return -1;
        }
        auto first = Clock::time_point::max();
        for (const auto& [id, connection] : connections_) {
            first = std::min(first, connection.deadline);
        }
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now()).count();
        return static_cast<int>(std::clamp<decltype(left)>(left, 0, 60000));
    }

    void dispatch(const epoll_event& event) {
        if (event.data.u64 == kListener) {
            accept_one();
        } else if (event.data.u64 == kWake) {
            for (auto& [id, response] : mailbox_->take()) {
                if (const auto at = connections_.find(id);
                    at != connections_.end() && at->second.state == State::kWaiting) {
                    answer(id, at->second, response);
                }
            }
        } else if (const auto at = connections_.find(event.data.u64); at != connections_.end()) {
            serve(at->first, at->second, event.events);
        }
    }

    void accept_one() {
        UniqueFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd.valid()) {
            return; // the caller went away, or descriptors are short: it stays in the queue and epoll tells again
        }
        const std::uint64_t id = next_id_++;
        if (!watch(fd.get(), id, EPOLLIN, EPOLL_CTL_ADD)) {
            return; // dropping the connection tells the caller to try again
        }
        Connection& connection = connections_[id];
        connection.fd = std::move(fd);
        connection.deadline = Clock::now() + options_.read_timeout;
        const auto uid = peer_uid(connection.fd.get());
        if (!uid || (*uid != 0 && *uid != options_.allowed_uid)) {
            answer(id, connection, refusal(Response::INVALID, "only root may enrol pods: run weft-cni as root"));
        }
    }

    void listen_if_room() {
        const bool room = connections_.size() < options_.max_connections;
        if (room != listening_ && watch(listener_.fd.get(), kListener, room ? EPOLLIN : 0U, EPOLL_CTL_MOD)) {
            listening_ = room;
        }
    }

    void serve(std::uint64_t id, Connection& connection, std::uint32_t events) {
        switch (connection.state) {
        case State::kReading:
            read(id, connection);
            break;
        case State::kWaiting:
            // Nobody waits for the answer any more; what was asked goes on, a DEL undoes it.
            if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
                close(id);
            }
            break;
        case State::kWriting:
            write(id, connection);
            break;
        }
    }

    void read(std::uint64_t id, Connection& connection) {
        std::array<char, 16384> buffer{};
        const ssize_t got = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0) {
            close(id); // it ended before its request was whole
            return;
        }
        auto payload = connection.decoder.feed({buffer.data(), static_cast<std::size_t>(got)});
        if (!payload) {
            answer(id, connection, refusal(Response::INVALID, payload.error().message()));
            return;
        }
        if (!payload->has_value()) {
            return;
        }
        Request request;
        if (!request.ParseFromString(**payload)) {
            answer(id, connection,
                   refusal(Response::INVALID,
                           "the request is no weft.enrol.Request: weft-cni and weftd differ in version"));
            return;
        }
        if (request.protocol() != kProtocol) {
            answer(
                id, connection,
                refusal(
                    Response::UNSUPPORTED,
                    fmt::format(
                        "weft-cni speaks enrolment protocol {}, this weftd speaks {}: install the same version of both",
                        request.protocol(), kProtocol)));
            return;
        }
        connection.state = State::kWaiting;
        connection.deadline = Clock::now() + options_.answer_timeout;
        (void)watch(connection.fd.get(), id, 0,
                    EPOLL_CTL_MOD); // only a hang-up counts now; failing, it is seen at the deadline
        handler_.handle(std::move(request),
                        [mailbox = mailbox_, id](Response response) { mailbox->put(id, std::move(response)); });
    }

    void answer(std::uint64_t id, Connection& connection, const Response& response) {
        auto frame = encode_frame(response.SerializeAsString());
        if (!frame) {
            frame = encode_frame(refusal(Response::INTERNAL, frame.error().message()).SerializeAsString());
        }
        connection.out = *std::move(frame);
        connection.state = State::kWriting;
        connection.deadline = Clock::now() + options_.read_timeout;
        (void)watch(connection.fd.get(), id, EPOLLOUT, EPOLL_CTL_MOD); // failing, the deadline closes it
        write(id, connection);
    }

    void write(std::uint64_t id, Connection& connection) {
        while (connection.written < connection.out.size()) {
            const ssize_t put = ::send(connection.fd.get(), connection.out.data() + connection.written,
                                       connection.out.size() - connection.written, MSG_NOSIGNAL);
            if (put < 0 && errno == EINTR) {
                continue;
            }
            if (put < 0 && errno == EAGAIN) {
                return;
            }
            if (put <= 0) {
                break;
            }
            connection.written += static_cast<std::size_t>(put);
        }
        close(id);
    }

    void expire() {
        const auto now = Clock::now();
        for (auto at = connections_.begin(); at != connections_.end();) {
            const auto next = std::next(at);
            if (at->second.deadline <= now) {
                close(at->first);
            }
            at = next;
        }
    }

    void close(std::uint64_t id) { connections_.erase(id); } // closing takes it out of the epoll set

    ServerOptions options_;
    EnrolHandler& handler_;
    ListenSocket listener_;
    UniqueFd epoll_;
    std::shared_ptr<Mailbox> mailbox_;
    std::map<std::uint64_t, Connection> connections_;
    std::uint64_t next_id_ = kFirstConnection;
    bool listening_ = true;
    std::atomic<bool> stopping_ = false;
};

EnrolServer::EnrolServer(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}

EnrolServer::~EnrolServer() {
    loop_->stop();
    if (thread_.joinable()) {
        thread_.join();
    }
}

const std::string& EnrolServer::path() const {
    return loop_->path();
}

Result<std::unique_ptr<EnrolServer>> EnrolServer::start(ServerOptions options, EnrolHandler& handler) {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll.valid() || !wake.valid()) {
        return system_failure("epoll and eventfd of the enrolment server");
    }
    WEFT_ASSIGN(ListenSocket listener, listen_unix(options.path));
    auto loop =
        std::make_unique<Loop>(std::move(options), handler, std::move(listener), std::move(epoll), std::move(wake));
    WEFT_TRY(loop->arm());
    std::unique_ptr<EnrolServer> server(new EnrolServer(std::move(loop)));
    try {
        server->thread_ = std::thread([running = server->loop_.get()] { running->run(); });
    } catch (const std::system_error& error) {
        return failure(error.code().value(), "thread of the enrolment server: {}", error.what());
    }
    return server;
}

} // namespace weft::enrol
