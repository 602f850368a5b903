// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The openssl command line as peer, with a certificate of the same authority: it can be client and server of weft/1.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/ktls/userspace_loop.hpp"

namespace weft::ktls {
namespace {

using test::TcpPair;
using test::UserspaceLoop;

// Files of one peer, removed at the end.
class Files {
public:
    explicit Files(const test::Authority& ca) {
        std::string pattern = "/tmp/weft-interop-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        const auto credentials = ca.credentials(test::leaf_of("db"));
        write("leaf.pem", test::pem_of(credentials.chain[0].get()));
        write("chain.pem", test::pem_of(credentials.chain[1].get()));
        write("key.pem", test::pem_of(credentials.key.get()));
        write("root.pem", test::pem_of(ca.root()));
    }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;
    ~Files() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

private:
    void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
    std::string folder_;
};

// `openssl ARGUMENTS`, with pipes to its standard input and output.
class Openssl {
public:
    Openssl(const Files& files, std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "openssl");
        for (const auto& [option, file] : std::vector<std::pair<std::string, std::string>>{
                 {"-cert", "leaf.pem"}, {"-cert_chain", "chain.pem"}, {"-key", "key.pem"}, {"-CAfile", "root.pem"}}) {
            arguments.push_back(option);
            arguments.push_back(files.path(file));
        }
        arguments.insert(arguments.end(), {"-alpn", "weft/1", "-tls1_3"});
        std::vector<char*> vector;
        for (auto& argument : arguments) {
            vector.push_back(argument.data());
        }
        vector.push_back(nullptr);
        int in[2];
        int out[2];
        EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
        EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
        pid_ = ::fork();
        if (pid_ == 0) {
            (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)::dup2(in[0], 0);
            (void)::dup2(out[1], 1);
            (void)::dup2(out[1], 2);
            ::execvp(vector[0], vector.data());
            ::_exit(127);
        }
        in_ = UniqueFd(in[1]);
        out_ = UniqueFd(out[0]);
        ::close(in[0]);
        ::close(out[1]);
    }
    Openssl(const Openssl&) = delete;
    Openssl& operator=(const Openssl&) = delete;
    ~Openssl() {
        (void)::kill(pid_, SIGKILL);
        (void)::waitpid(pid_, nullptr, 0);
    }
    void say(const std::string& text) {
        EXPECT_EQ(::write(in_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    void end_input() { in_.reset(); }
    // Reads until `text` was printed; all of it until then.
    bool prints(const std::string& text) {
        return test::eventually([&] {
            char buffer[4096];
            while (test::wait_for(out_.get(), POLLIN, std::chrono::milliseconds(0)) != 0) {
                const auto got = ::read(out_.get(), buffer, sizeof buffer);
                if (got <= 0) {
                    break;
                }
                printed_.append(buffer, static_cast<std::size_t>(got));
            }
            return printed_.find(text) != std::string::npos;
        });
    }
    [[nodiscard]] const std::string& printed() const { return printed_; }

private:
    pid_t pid_ = -1;
    UniqueFd in_;
    UniqueFd out_;
    std::string printed_;
};

Step finish(Handshake& handshake) {
    Step step = Step::kWantRead;
    EXPECT_TRUE(test::eventually([&] {
        step = handshake.step();
        return step == Step::kDone || step == Step::kFailed;
    }));
    return step;
}

TEST(Interop, OpensslServes) {
    const test::Authority ca(true);
    const Files files(ca);
    // -rev answers each line with its reverse; it sends two tickets, one more than weft/1 asks for.
    Openssl server(files, {"s_server", "-accept", "127.0.0.1:0", "-Verify", "3", "-verify_return_error", "-rev"});
    ASSERT_TRUE(server.prints("ACCEPT 127.0.0.1:")) << server.printed();
    const auto at = server.printed().find("ACCEPT 127.0.0.1:") + 17;
    ASSERT_TRUE(server.prints("\n"));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(server.printed().substr(at))));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    auto client = *Handshake::client(ca.context(test::leaf_of("web")), fd.get(), {test::anybody, {}, {}});
    ASSERT_EQ(finish(client), Step::kDone) << client.failure().detail << server.printed();
    EXPECT_EQ(client.established().peer.id.service_account, "db");
    TcpPair front;
    UserspaceLoop relay(client.release(), std::move(front.server), std::move(fd), {});
    ASSERT_EQ(::send(front.client.get(), "abcdef\n", 7, 0), 7);
    char line[7];
    ASSERT_EQ(::recv(front.client.get(), line, sizeof line, MSG_WAITALL), 7);
    EXPECT_EQ(std::string(line, 7), "fedcba\n");
}

TEST(Interop, OpensslIsAClient) {
    const test::Authority ca(true);
    const Files files(ca);
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &size), 0);
    Openssl client(files, {"s_client", "-connect", "127.0.0.1:" + std::to_string(ntohs(where.sin_port)),
                           "-verify_return_error", "-verify", "3", "-quiet"});
    ASSERT_NE(test::wait_for(listener.get(), POLLIN), 0);
    UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    auto server = *Handshake::server(ca.context(test::leaf_of("web")), fd.get(), {test::anybody});
    ASSERT_EQ(finish(server), Step::kDone) << server.failure().detail;
    EXPECT_EQ(server.established().peer.id.service_account, "db");
    TcpPair back;
    UserspaceLoop relay(server.release(), std::move(back.client), std::move(fd), {});
    client.say("hello\n");
    char line[6];
    ASSERT_EQ(::recv(back.server.get(), line, sizeof line, MSG_WAITALL), 6);
    EXPECT_EQ(std::string(line, 6), "hello\n");
    ASSERT_EQ(::send(back.server.get(), "welcome\n", 8, 0), 8);
    EXPECT_TRUE(client.prints("welcome")) << client.printed();
}

} // namespace
} // namespace weft::ktls
