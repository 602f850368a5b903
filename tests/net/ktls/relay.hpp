// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The real weft-relay, started for one test, and connections that run through two of its sockets.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/net/ktls/streams.hpp"
#include "weft/ktls/relay_client.hpp"

namespace weft::ktls::test {

/// A running weft-relay with a socket of its own; killed with the object.
class Relay {
public:
    /// `arguments` as on its command line, blank separated, beside --socket.
    explicit Relay(const std::string& arguments = "", const std::string& program = "");
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;
    ~Relay();

    RelayClient& client() { return *client_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    weft_relay_info info();
    /// Hands over and closes the given descriptors when they were taken. The relay's status.
    std::uint16_t carry(std::uint64_t id, UniqueFd& app, UniqueFd& peer, std::uint32_t flags, std::uint64_t limit = 0);
    std::optional<weft_relay_entry> entry(std::uint64_t id);
    /// The next event about `id`; the test fails when none comes.
    weft_relay_entry event(std::uint64_t id);
    /// Kills the child and waits until there is another one.
    void kill_child();
    /// Where the built program is: beside the test's own folder.
    static std::string program();

private:
    std::string folder_;
    std::string path_;
    pid_t pid_ = -1;
    std::optional<RelayClient> client_;
};

/// An application and a peer on plain connections, with the relay between them.
struct Carried {
    explicit Carried(Relay& relay, std::uint64_t id = 7) {
        EXPECT_EQ(relay.carry(id, front.server, back.client, 0), WEFT_RELAY_OK);
    }
    TcpPair front;
    TcpPair back;
    [[nodiscard]] int app() const { return front.client.get(); }
    [[nodiscard]] int peer() const { return back.server.get(); }
};

/// Milliseconds of CPU that a process has used.
double cpu_ms(pid_t process);

} // namespace weft::ktls::test
