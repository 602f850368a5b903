// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The enrolment server against callers that lie, dawdle, come in crowds or leave.
#include "agent/enrol/server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <vector>

#include "tests/unit/enrol/socket_client.hpp"

using namespace std::chrono_literals;
using namespace std::string_literals;

namespace weft::enrol {
namespace {

using test::Client;
using test::framed;

/// Keeps requests until the test answers them.
class Keeper final : public EnrolHandler {
public:
    void handle(Request request, Reply reply) override {
        const std::lock_guard lock(mutex_); // the server's thread against the test's
        kept_.emplace_back(std::move(request), std::move(reply));
        changed_.notify_all();
    }
    bool wait_for(std::size_t count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return kept_.size() >= count; });
    }
    std::pair<Request, Reply> take(std::size_t index) {
        const std::lock_guard lock(mutex_);
        return kept_.at(index);
    }
    std::size_t count() {
        const std::lock_guard lock(mutex_);
        return kept_.size();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::pair<Request, Reply>> kept_;
};

class Server : public ::testing::Test {
protected:
    std::unique_ptr<EnrolServer> start(ServerOptions options = {}) {
        options.path = path_;
        options.allowed_uid = ::geteuid();
        auto server = EnrolServer::start(options, keeper_);
        EXPECT_TRUE(server.has_value()) << server.error().message();
        return server ? *std::move(server) : nullptr;
    }
    static Request status_request(std::uint32_t protocol = 1) {
        Request request;
        request.set_protocol(protocol);
        request.mutable_status();
        return request;
    }
    static Response code(Response::Code code) {
        Response response;
        response.set_code(code);
        return response;
    }

    test::Folder folder_;
    std::string path_ = folder_.path("enrol.sock");
    Keeper keeper_;
};

TEST_F(Server, CarriesRequestAndLateAnswer) {
    const auto server = start();
    const Client client(path_);
    Request request;
    request.set_protocol(1);
    request.mutable_del()->set_container_id("abc");
    ASSERT_TRUE(client.send(framed(request)));
    ASSERT_TRUE(keeper_.wait_for(1));
    EXPECT_EQ(keeper_.take(0).first.del().container_id(), "abc");
    keeper_.take(0).second(code(Response::NOT_FOUND));
    const auto answer = client.response();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->code(), Response::NOT_FOUND);
}

TEST_F(Server, TakesARequestByteByByte) {
    const auto server = start();
    const Client client(path_);
    for (const char byte : framed(status_request())) {
        ASSERT_TRUE(client.send({&byte, 1}));
    }
    ASSERT_TRUE(keeper_.wait_for(1));
    keeper_.take(0).second(code(Response::OK));
    EXPECT_TRUE(client.response().has_value());
}

TEST_F(Server, RefusesAnOversizedLengthAtOnce) {
    const auto server = start();
    const Client client(path_);
    ASSERT_TRUE(client.send("\x7f\xff\xff\xff"s));
    const auto answer = client.response();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->code(), Response::INVALID);
    EXPECT_NE(answer->message().find("2147483647"), std::string::npos) << answer->message();
    EXPECT_EQ(keeper_.count(), 0U);
}

TEST_F(Server, RefusesWhatIsNoRequest) {
    const auto server = start();
    const Client client(path_);
    ASSERT_TRUE(client.send("\0\0\0\4\xff\xff\xff\xff"s));
    const auto answer = client.response();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->code(), Response::INVALID);
}

TEST_F(Server, RefusesAnotherProtocol) {
    const auto server = start();
    for (const std::uint32_t protocol : {0U, 2U}) {
        const Client client(path_);
        ASSERT_TRUE(client.send(framed(status_request(protocol))));
        const auto answer = client.response();
        ASSERT_TRUE(answer.has_value());
        EXPECT_EQ(answer->code(), Response::UNSUPPORTED);
    }
    EXPECT_EQ(keeper_.count(), 0U);
}

TEST_F(Server, ClosesATruncatedRequestWithoutAnswer) {
    const auto server = start();
    {
        const Client client(path_);
        ASSERT_TRUE(client.send(framed(status_request()).substr(0, 5)));
    }
    const Client next(path_); // the loop is alive and served the close before
    ASSERT_TRUE(next.send(framed(status_request())));
    ASSERT_TRUE(keeper_.wait_for(1));
    EXPECT_EQ(keeper_.count(), 1U);
}

TEST_F(Server, ClosesASlowCaller) {
    const auto server = start({.read_timeout = 100ms});
    const Client silent(path_);
    const Client dawdling(path_);
    ASSERT_TRUE(dawdling.send("\0\0\1"s));
    EXPECT_EQ(silent.read_to_end(), "");
    EXPECT_EQ(dawdling.read_to_end(), "");
    EXPECT_EQ(keeper_.count(), 0U);
}

TEST_F(Server, ClosesWhenTheHandlerNeverAnswers) {
    const auto server = start({.answer_timeout = 100ms});
    const Client client(path_);
    ASSERT_TRUE(client.send(framed(status_request())));
    EXPECT_EQ(client.read_to_end(), "");
    ASSERT_TRUE(keeper_.wait_for(1));
    keeper_.take(0).second(code(Response::OK)); // too late: must be harmless
}

TEST_F(Server, SilentCrowdCannotKeepOthersOut) {
    const auto server = start({.read_timeout = 300ms, .max_connections = 4});
    std::vector<std::unique_ptr<Client>> crowd;
    for (int i = 0; i < 12; ++i) {
        crowd.push_back(std::make_unique<Client>(path_));
        ASSERT_TRUE(crowd.back()->connected());
    }
    const Client client(path_);
    ASSERT_TRUE(client.send(framed(status_request())));
    ASSERT_TRUE(keeper_.wait_for(1)) << "served once the crowd's time is up";
    keeper_.take(0).second(code(Response::OK));
    EXPECT_TRUE(client.response().has_value());
}

TEST_F(Server, AnswersManyAtOnceEachItsOwn) {
    const auto server = start();
    constexpr std::size_t kCount = 64;
    std::vector<std::unique_ptr<Client>> clients;
    for (std::size_t i = 0; i < kCount; ++i) {
        clients.push_back(std::make_unique<Client>(path_));
        Request request;
        request.set_protocol(1);
        request.mutable_del()->set_container_id(std::to_string(i));
        ASSERT_TRUE(clients.back()->send(framed(request)));
    }
    ASSERT_TRUE(keeper_.wait_for(kCount));
    for (std::size_t i = kCount; i-- > 0;) {
        const auto [request, reply] = keeper_.take(i);
        Response response;
        response.set_message(request.del().container_id());
        reply(response);
    }
    for (std::size_t i = 0; i < kCount; ++i) {
        const auto answer = clients[i]->response();
        ASSERT_TRUE(answer.has_value());
        EXPECT_EQ(answer->message(), std::to_string(i));
    }
}

TEST_F(Server, AnswerAfterItsEndIsHarmless) {
    auto server = start();
    const Client client(path_);
    ASSERT_TRUE(client.send(framed(status_request())));
    ASSERT_TRUE(keeper_.wait_for(1));
    server.reset();
    keeper_.take(0).second(code(Response::OK));
    EXPECT_EQ(client.read_to_end(), "");
}

TEST_F(Server, SocketIsForItsOwnerOnly) {
    const auto server = start();
    struct stat status{};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
}

TEST_F(Server, RefusesAnotherUser) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root to become another user";
    }
    const auto server = start();
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    ASSERT_EQ(::chmod(path_.c_str(), 0666), 0); // so that only the check of the credentials is left
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) {
            ::_exit(2);
        }
        const Client client(path_);
        const auto answer = client.response(5000);
        ::_exit(client.connected() && answer && answer->code() == Response::INVALID ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(keeper_.count(), 0U);
}

TEST_F(Server, LeavesALivingOnesSocketAlone) {
    const auto server = start();
    Keeper other;
    const auto second = EnrolServer::start({.path = path_}, other);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), EADDRINUSE);
    EXPECT_TRUE(Client(path_).connected());
}

TEST_F(Server, ReplacesADeadOnesSocket) {
    {
        UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    const auto server = start();
    ASSERT_NE(server, nullptr);
    EXPECT_TRUE(Client(path_).connected());
}

TEST_F(Server, LeavesAFileInTheWayAlone) {
    ASSERT_GE(UniqueFd(::open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)).get(), 0);
    const auto server = EnrolServer::start({.path = path_}, keeper_);
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(server.error().code(), EEXIST);
}

TEST_F(Server, RemovesItsSocketButNotASuccessors) {
    auto first = start();
    std::filesystem::remove(path_);
    auto second = start();
    first.reset();
    EXPECT_TRUE(Client(path_).connected());
    second.reset();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Server, RefusesAPathThatIsTooLong) {
    const auto server = EnrolServer::start({.path = "/" + std::string(200, 'x')}, keeper_);
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(server.error().code(), EINVAL);
}

} // namespace
} // namespace weft::enrol
