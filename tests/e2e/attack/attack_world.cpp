// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/e2e/attack/attack_world.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <openssl/pem.h>

#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "tools/lab/netns.hpp"
#include "tools/lab/process.hpp"

namespace weft::e2e {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPodsInTheMesh = 3;

constexpr const char* kManifests = R"(apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  nodeName: node-2
  serviceAccountName: api
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import socket, threading
      def serve(s, port):
          got, end = 0, "eof"
          try:
              while data := s.recv(65536):
                  got += len(data)
                  if b"\n" in data: s.sendall(b"hello\n")
          except OSError as error:
              end = "reset" if error.errno == 104 else str(error)
          with open("/tmp/ends", "a") as ends: ends.write(f"{port} {got} {end}\n")
          s.close()
      listener = socket.create_server(("", 8080), backlog=1024)
      while True:
          s, peer = listener.accept()
          threading.Thread(target=serve, args=(s, peer[1]), daemon=True).start()
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {nodeName: node-1, serviceAccountName: client, containers: [{name: main}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: shop}
spec: {nodeName: node-1, serviceAccountName: other, containers: [{name: main}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: outside}
spec: {nodeName: node-1, containers: [{name: main}]}
)";

pki::Time now() {
    return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

std::string text_of(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

pki::OsslPtr<EVP_PKEY> key_in(const fs::path& path) {
    const auto text = text_of(path);
    const pki::OsslPtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    return pki::OsslPtr<EVP_PKEY>(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
}

std::vector<pki::OsslPtr<X509>> chain_in(const fs::path& path) {
    const auto text = text_of(path);
    const pki::OsslPtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    std::vector<pki::OsslPtr<X509>> chain;
    while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
        chain.emplace_back(one);
    }
    return chain;
}

std::size_t published(const lab::Names& names) {
    std::size_t found = 0;
    for (const auto& file : fs::directory_iterator(names.manifests())) {
        found += text_of(file.path()).find("weft.dev/enrolled") != std::string::npos ? 1U : 0U;
    }
    return found;
}

} // namespace

std::map<std::string, std::string> AttackTest::addresses_;

lab::Names AttackTest::names() {
    return *lab::Names::make(lab().name());
}

RogueAuthority::RogueAuthority(const std::string& trust_domain)
    : key_(*pki::new_key()), root_(*pki::make_root(key_.get(), "root of " + trust_domain,
                                                   {now() - std::chrono::hours(1), now() + std::chrono::hours(100)})) {}

Material RogueAuthority::issue(const std::string& uri) const {
    Material made;
    made.key = *pki::new_key();
    made.chain.push_back(*pki::make_leaf(pki::LeafKind::kWorkload, made.key.get(), uri,
                                         {now() - std::chrono::minutes(1), now() + std::chrono::hours(1)},
                                         {root_.get(), key_.get()}));
    made.chain.push_back(ktls::share(root_.get()));
    return made;
}

std::string RogueAuthority::root_pem() const {
    return *pki::pem_of(root_.get());
}

void AttackTest::bring_up(const std::string& more, const std::vector<std::string>& arguments) {
    shared_lab() = std::make_unique<TestLab>();
    addresses_.clear();
    lab().write("shop.yaml", std::string(kStrictShop) + kManifests + more);
    lab().up(arguments);
}

void AttackTest::SetUp() {
    if (!shared_lab()) {
        new_lab();
    }
    ASSERT_TRUE(eventually([] { return published(names()) == kPodsInTheMesh; }, 90)) << lab().status().dump(1);
    ASSERT_TRUE(eventually([] { return honest_peer_is_served(); }, 60));
}

void AttackTest::TearDown() {
    if (HasFailure()) {
        shared_lab().reset();
    }
}

std::string AttackTest::address(const std::string& pod) {
    if (!addresses_.contains(pod)) {
        const auto status = lab().status();
        for (const auto& one : status["pods"]) {
            if (!one["ips"].empty()) {
                addresses_[one["name"].get<std::string>()] = one["ips"][0].get<std::string>();
            }
        }
    }
    EXPECT_TRUE(addresses_.contains(pod)) << pod;
    return addresses_[pod];
}

UniqueFd AttackTest::connect_from(const std::string& pod, const std::string& to, std::uint16_t port) {
    const auto slash = pod.find('/');
    const auto namespace_name = pod.substr(0, slash);
    const auto name = pod.substr(slash + 1);
    const auto netns = lab::netns_path(namespace_name == "abroad" ? names().external_netns(namespace_name, name)
                                                                  : names().pod_netns(namespace_name, name));
    UniqueFd fd;
    const auto done = lab::in_netns(netns, [&]() -> Result<> {
        fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port);
        ::inet_pton(AF_INET, to.c_str(), &at.sin_addr);
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
            const int why = errno;
            fd.reset();
            return failure(why, "connecting to {}", to);
        }
        return {};
    });
    if (!done) {
        errno = done.error().code();
    }
    return fd;
}

std::uint16_t AttackTest::own_port(int fd) {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size), 0);
    return ntohs(own.sin_port);
}

int AttackTest::authority(std::vector<std::string> arguments) {
    lab::Launch command;
    command.argv = {(fs::path(weft_program()).parent_path() / "weft-ca").string(), "--dir", names().run_dir() + "/ca"};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    const auto done = lab::run_captured(command);
    EXPECT_TRUE(done) << done.error().message();
    if (done && done->exit_code != 0) {
        ADD_FAILURE() << done->error_output;
    }
    return done ? done->exit_code : -1;
}

Material AttackTest::genuine(const std::string& account) {
    const auto folder = fs::path(lab().folder()) / ("issued-" + account);
    EXPECT_EQ(authority({"issue", "spiffe://cluster.local/ns/shop/sa/" + account, "--out", folder.string()}), 0);
    return {key_in(folder / "tls.key"), chain_in(folder / "tls.crt")};
}

Material AttackTest::forged(const std::string& uri, std::chrono::seconds from, std::chrono::seconds to) {
    const fs::path folder = names().run_dir() + "/ca";
    std::string signer;
    for (const auto& file : fs::directory_iterator(folder)) {
        if (file.path().filename().string().starts_with("intermediate-")) {
            signer = file.path().stem().string();
        }
    }
    const auto key = key_in(folder / (signer + ".key"));
    auto chain = chain_in(folder / (signer + ".crt"));
    Material made;
    made.key = *pki::new_key();
    made.chain.push_back(*pki::make_leaf(pki::LeafKind::kWorkload, made.key.get(), uri, {now() + from, now() + to},
                                         {chain.front().get(), key.get()}));
    made.chain.push_back(std::move(chain.front()));
    return made;
}

double AttackTest::metric(const std::string& node, const std::string& line) {
    lab::Launch command;
    command.argv.assign({"curl", "-s", "-m", "20", "http://127.0.0.1:9964/metrics"});
    command.netns = lab::netns_path(names().node_netns(node));
    const auto page = lab::run_captured(command);
    EXPECT_TRUE(page && page->output.contains("weft_mesh_tier")) << "no metrics of " << node;
    const auto at = page ? page->output.find("\n" + line) : std::string::npos;
    return at == std::string::npos ? 0 : std::stod(page->output.substr(at + 1 + line.size()));
}

double AttackTest::counted(const std::string& node, const std::string& side, const std::string& reason) {
    return metric(node, fmt::format("weft_mesh_failures_total{{side=\"{}\",reason=\"{}\"}} ", side, reason));
}

double AttackTest::dropped(const std::string& node, const std::string& reason) {
    return metric(node, fmt::format("weft_drops_total{{reason=\"{}\",direction=\"ingress\"}} ", reason));
}

std::string AttackTest::ask(const std::string& node, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--socket", names().agent_run_dir(node) + "/admin.sock"});
    return weft(arguments).output;
}

bool AttackTest::flow_says(const std::string& node, const std::string& reason, std::uint16_t source_port) {
    const auto from = fmt::format(":{}", source_port);
    return eventually(
        [&] {
            std::istringstream lines(ask(node, {"flows", "--last", "500"}));
            for (std::string line; std::getline(lines, line);) {
                if (line.contains(reason) && line.contains(from)) {
                    return true;
                }
            }
            return false;
        },
        20);
}

bool AttackTest::honest_peer_is_served() {
    return lab().in_pod("shop/client",
                        fmt::format("python3 -c 'import socket; s = socket.create_connection((\"{}\", 8080), 20); "
                                    "s.sendall(b\"hi\\n\"); print(s.recv(99).decode(), end=\"\")' 2>&1",
                                    address("api"))) == "hello\n";
}

std::string AttackTest::endings() {
    return lab().in_pod("shop/api", "cat /tmp/ends");
}

} // namespace weft::e2e
