// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Two enrolled workloads that take each other for pods of another node, with the real hooks and the real mesh between
// them: every connection of the client's to the server's addresses goes by mutual TLS.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "agent/mesh/mesh.hpp"
#include "tests/net/datapath/family.hpp"
#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/relay.hpp"

namespace weft::test {

class MeshWorld : public DatapathTest {
protected:
    MeshWorld();
    ~MeshWorld() override;

    /// Starts weft-relay and the mesh, and enrolls both workloads.
    void start(mesh::Limits limits = {});
    /// Another agent takes over from the one that is gone: after mesh.reset().
    void start_again();
    /// The same in a process of its own, to be killed. It ends with this one.
    pid_t start_in_a_process();
    static void kill(pid_t process);
    /// Gives the mesh what `view` says now, and the hooks the ports that it answers.
    void publish();
    /// What `view` and the hooks say of both workloads.
    void set_mode(k8s::TlsMode mode);
    /// Takes the client's publication back: it dials by plaintext, but may still dial by mutual TLS.
    void withdraw_client();

    /// A connection of the client's application to the server's, both ends; the server's is invalid if it did not come.
    struct Ends {
        UniqueFd client;
        UniqueFd server;
        int error = 0; ///< of connect
    };
    Ends connect(std::uint16_t port = 8080);
    /// What a client gets, as receive() says it. A reset may be there before connect() returns.
    std::string connect_and_receive(int client, std::uint16_t port);
    UniqueFd listen_in_server(std::uint16_t port = 8080);

    [[nodiscard]] std::uint64_t failures(mesh::Side side, const std::string& reason) const;
    [[nodiscard]] static bool kernel_tls();
    [[nodiscard]] static const ktls::Probe& probe();

    ktls::test::Authority authority;
    mesh::View view;
    std::vector<mesh::FailureReport> reports; ///< guarded by the mesh being idle: read it after eventually()
    std::mutex reports_mutex;
    std::unique_ptr<mesh::Mesh> mesh;
    std::optional<ktls::test::Relay> relay;
    mesh::KeyLimit key_limit;
    std::uint32_t endpoint_flags = WEFT_ENDPOINT_MESH | WEFT_ENDPOINT_DIALS;
    std::uint32_t client_withdrawn = 0;

private:
    void add(const Netns& netns, const std::string& name, const std::string& account, const std::string& v4,
             const std::string& v6);
    std::string pins_;
    mesh::Limits limits_;
};

/// Sends and receives everything, at once, and says whether all bytes came as sent. `seed` makes the content.
bool exchange(int sender, int receiver, std::size_t bytes, unsigned seed);
/// All bytes until the end; nullopt and errno when it broke.
std::optional<std::string> read_all(int fd);

} // namespace weft::test
