// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/unit/ca/world.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "agent/ca/rpc/tls13.hpp"

namespace weft::ca::test {
namespace {

// Before main, as gRPC reads it once.
[[maybe_unused]] const bool kTls13 = (require_tls13(), true);

} // namespace

TemporaryFolder::TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "weft-ca-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
        throw std::runtime_error("mkdtemp failed");
    }
    path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

void TemporaryFolder::write(const std::string& name, const std::string& text, unsigned mode) const {
    const auto side = path(name) + ".side";
    std::ofstream(side) << text;
    ASSERT_EQ(::chmod(side.c_str(), mode), 0);
    std::filesystem::rename(side, path(name));
}

bool eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::mutex mutex;
    std::condition_variable pause;
    std::unique_lock lock(mutex);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        pause.wait_for(lock, std::chrono::milliseconds(10));
    }
    return true;
}

std::string pod_yaml(const std::string& node, const std::string& namespace_name, const std::string& account) {
    return fmt::format("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {2}-{0}, namespace: {1}}}\n"
                       "spec: {{nodeName: {0}, serviceAccountName: {2}, containers: [{{name: c, image: i}}]}}\n",
                       node, namespace_name, account);
}

CaWorld::CaWorld(const Lifetimes& lives) {
    std::filesystem::create_directory(files_.path("manifests"));
    auto folder = StateFolder::open(this->folder());
    EXPECT_TRUE(folder.has_value()) << folder.error().message();
    auto made = Authority::create(*folder, "cluster.local", lives, clock_.now());
    EXPECT_TRUE(made.has_value()) << made.error().message();
}

void CaWorld::start() {
    ServerOptions options;
    options.folder = folder();
    options.listen = fmt::format("127.0.0.1:{}", port_);
    options.manifests = files_.path("manifests");
    options.issuer.now = clock_.reader();
    auto started = Server::start(options);
    ASSERT_TRUE(started.has_value()) << started.error().message();
    server_ = std::move(*started);
    port_ = server_->port();
}

std::string CaWorld::address() const {
    return fmt::format("127.0.0.1:{}", port_);
}

CreateTokenResponse CaWorld::token(const std::string& node, std::int64_t lifetime) {
    CreateTokenRequest request;
    request.set_node(node);
    request.set_lifetime(lifetime);
    auto answer = issuer().create_token(request);
    EXPECT_TRUE(answer.has_value()) << answer.error().message();
    return answer.value_or(CreateTokenResponse());
}

void CaWorld::schedule(const std::string& node, const std::string& namespace_name, const std::string& account) {
    files_.write(fmt::format("manifests/{}-{}-{}.yaml", node, namespace_name, account),
                 pod_yaml(node, namespace_name, account), 0644);
}

std::string CaWorld::rotate(RotateRequest::Step step, bool force) {
    RotateRequest request;
    request.set_step(step);
    request.set_force(force);
    const auto done = issuer().rotate(request);
    return done ? std::string() : done.error().message();
}

std::size_t CaWorld::audited(const std::vector<std::string>& words) const {
    std::ifstream file(folder() + "/audit.jsonl");
    std::size_t count = 0;
    for (std::string line; std::getline(file, line);) {
        count += std::ranges::all_of(words, [&](const auto& word) { return line.contains(word); }) ? 1U : 0U;
    }
    return count;
}

} // namespace weft::ca::test
