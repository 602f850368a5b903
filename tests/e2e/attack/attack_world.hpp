// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A lab whose pods are attacked from inside other pods' network namespaces, by this process: it is in no pod's cgroup,
// so the hooks on sockets leave it alone, and its bytes reach the wire as it writes them. Also: what the agents say of
// it afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/e2e/attack/tls_end.hpp"
#include "tests/e2e/driver.hpp"
#include "tools/lab/names.hpp"

namespace weft::e2e {

/// An authority that nobody asked for.
class RogueAuthority {
public:
    explicit RogueAuthority(const std::string& trust_domain);
    [[nodiscard]] Material issue(const std::string& uri) const;
    [[nodiscard]] std::string root_pem() const;

private:
    pki::OsslPtr<EVP_PKEY> key_;
    pki::OsslPtr<X509> root_;
};

/// One lab for all suites: namespace shop is in the mesh and strict, namespace outside is not. On node-1
/// shop/client, shop/other and outside/stranger; on node-2 shop/api, which answers "hello" to each line on port 8080.
class AttackTest : public testing::Test {
protected:
    void SetUp() override;
    void TearDown() override;
    /// Brings up the shared lab. A suite that overrides it begins and ends without one.
    virtual void new_lab() { bring_up("", {}); }
    /// With more manifests and more arguments of `weft lab up`.
    static void bring_up(const std::string& more, const std::vector<std::string>& arguments);
    [[nodiscard]] static const TestLab& lab() { return *shared_lab(); }

    [[nodiscard]] static std::string address(const std::string& pod);
    /// A connection from inside a pod's network namespace, without the pod; or from a host outside, "abroad/NAME".
    [[nodiscard]] static UniqueFd connect_from(const std::string& pod, const std::string& to,
                                               std::uint16_t port = 8080);
    [[nodiscard]] static std::uint16_t own_port(int fd);

    /// Exit code of `weft-ca ARGUMENTS...` of the lab's authority.
    [[nodiscard]] static int authority(std::vector<std::string> arguments);
    /// From the lab's own authority, as `weft-ca issue` gives it.
    [[nodiscard]] static Material genuine(const std::string& account);
    /// Signed with the authority's own key, with any content.
    [[nodiscard]] static Material forged(const std::string& uri, std::chrono::seconds from, std::chrono::seconds to);

    /// The value behind a line's begin on a node's page of metrics; 0 when it is not there.
    [[nodiscard]] static double metric(const std::string& node, const std::string& line);
    /// weft_mesh_failures_total of a node.
    [[nodiscard]] static double counted(const std::string& node, const std::string& side, const std::string& reason);
    /// weft_drops_total of a node, incoming.
    [[nodiscard]] static double dropped(const std::string& node, const std::string& reason);
    /// What a node's agent answers, one line of JSON each.
    [[nodiscard]] static std::string ask(const std::string& node, std::vector<std::string> arguments);
    /// Waits for a flow with that reason and that source port.
    [[nodiscard]] static bool flow_says(const std::string& node, const std::string& reason, std::uint16_t source_port);
    /// shop/api still answers its honest peer.
    [[nodiscard]] static bool honest_peer_is_served();
    /// How connections of shop/api ended, as its application saw them: "PEER-PORT BYTES END" a line.
    [[nodiscard]] static std::string endings();

    [[nodiscard]] static lab::Names names();

private:
    static std::map<std::string, std::string> addresses_; ///< of pods, which live as long as the lab
};

} // namespace weft::e2e
