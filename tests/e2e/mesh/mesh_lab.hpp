// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One lab of two nodes for all tests of a suite, as a cluster takes a while to come up where it is emulated: a
// server on node-2 and a client on node-1, both in the mesh.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {

/// Nothing that works takes this many seconds, also in an emulated guest on a busy machine.
inline constexpr int kPatience = 180;

/// Is this one of the guests of tests/qemu? There, amounts are small and the clock is ours.
bool in_guest();
/// The tier that this kernel must allow: with TLS in the kernel "relay", else "userspace".
std::string expected_tier();

/// A verb of peer.hpp that goes on until stop() is called.
class Background {
public:
    Background(std::vector<std::string> command, std::string file);
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;
    ~Background();

    /// Has it made its file?
    [[nodiscard]] bool started() const;
    /// How far it is: the number in its file.
    [[nodiscard]] std::uint64_t progress() const;
    /// Waits until it has done `more` than at the time of the call.
    [[nodiscard]] bool goes_on(std::uint64_t more = 1) const;
    /// Tells it to end, and returns what it printed.
    std::string stop();

private:
    std::string file_;
    std::future<std::string> output_;
};

class MeshLab : public ::testing::Test {
protected:
    /// A lab for each suite: in one that was used before, sessions are resumed, and a slow guest then at times carries
    /// a connection in user space.
    static void SetUpTestSuite() { shared_lab().reset(); }
    void SetUp() override;
    void TearDown() override;

    static void bring_up();
    [[nodiscard]] static const TestLab& lab();
    /// The address of a pod in namespace shop.
    [[nodiscard]] static std::string address(const std::string& pod, bool ipv6 = false);
    /// A verb of peer.hpp in a pod, to its end; what it printed, with its errors.
    [[nodiscard]] static std::string peer(const std::string& pod, const std::vector<std::string>& verb);
    /// The same in the background; "FILE" in `verb` becomes the name of its file.
    [[nodiscard]] static std::unique_ptr<Background> peer_in_background(const std::string& pod,
                                                                        std::vector<std::string> verb);
    /// Watches node-1's end of the wire; returns when it sees packets.
    [[nodiscard]] static std::unique_ptr<Background> watch_wire();
    /// `weft --socket NODE ... -o json`.
    [[nodiscard]] static nlohmann::json ask(const std::string& node, std::vector<std::string> arguments);
    /// The connection of mutual TLS to port 7000 that a node's agent lists; null when there is none.
    [[nodiscard]] static nlohmann::json listed_connection(const std::string& node);
    /// Writes the namespace with this label and waits until so many pods are published as enrolled, and dial.
    static void label_namespace(const std::string& value, std::size_t enrolled);
    [[nodiscard]] static bool wait_enrolled(std::size_t count);
    /// How many pods dial by mutual TLS, as the maps say.
    [[nodiscard]] static std::size_t dialling_pods();
    /// The processes of every weft-relay that move bytes.
    [[nodiscard]] static std::vector<pid_t> relay_children();
};

} // namespace weft::e2e
