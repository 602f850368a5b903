// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The weft-ca program as an administrator uses it, with and without a server, and a server that is killed while it
// signs.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/ca/pki/durable_file.hpp"
#include "agent/identity/ca_source.hpp"
#include "agent/identity/files_source.hpp"
#include "agent/identity/rotator.hpp"
#include "tests/unit/ca/world.hpp"

namespace weft::ca {
namespace {

namespace fs = std::filesystem;

using test::eventually;
using test::TemporaryFolder;

const SpiffeId kWeb{"cluster.local", "shop", "web"};

std::string program() {
    return (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / "weft-ca").string();
}

struct Outcome {
    int code = -1;
    std::string out;
    std::string err;
};

class WeftCaTest : public testing::Test {
protected:
    void TearDown() override { kill_server(); }

    [[nodiscard]] std::string folder() const { return files_.path("ca"); }

    Outcome run(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), {"--dir", folder()});
        const auto out = files_.path("out");
        const auto err = files_.path("err");
        const pid_t child = spawn(arguments, out, err);
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(out), text_of(err)};
    }
    nlohmann::json run_json(std::vector<std::string> arguments) const {
        arguments.insert(arguments.end(), {"-o", "json"});
        const auto done = run(std::move(arguments));
        EXPECT_EQ(done.code, 0) << done.err;
        return nlohmann::json::parse(done.out, nullptr, false);
    }
    void serve() {
        const auto log = files_.path("server.log");
        fs::remove(log);
        fs::create_directories(files_.path("manifests"));
        server_ = spawn({"--dir", folder(), "serve", "--listen", "127.0.0.1:" + std::to_string(port_), "--manifests",
                         files_.path("manifests")},
                        log, log);
        ASSERT_TRUE(eventually([&] { return text_of(log).contains("event=ready") || !alive(); })) << text_of(log);
        const auto text = text_of(log);
        const auto at = text.find(" port=");
        ASSERT_NE(at, std::string::npos) << text;
        port_ = std::stoi(text.substr(at + 6));
    }
    void kill_server(int signal = SIGKILL) {
        if (server_ > 0) {
            ::kill(server_, signal);
            int status = 0;
            ::waitpid(server_, &status, 0);
            server_status_ = status;
            server_ = -1;
        }
    }
    [[nodiscard]] bool alive() const { return ::kill(server_, 0) == 0; }
    static std::string text_of(const std::string& path) {
        std::ostringstream text;
        text << std::ifstream(path).rdbuf();
        return text.str();
    }

    TemporaryFolder files_;
    pid_t server_ = -1;
    int server_status_ = 0;
    int port_ = 0;

private:
    static pid_t spawn(const std::vector<std::string>& arguments, const std::string& out, const std::string& err) {
        std::vector<std::string> words{program()};
        words.insert(words.end(), arguments.begin(), arguments.end());
        std::vector<char*> pointers;
        for (auto& word : words) {
            pointers.push_back(word.data());
        }
        pointers.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND,
                                         0600);
        if (out == err) {
            posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
        } else {
            posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        }
        // Not fork(): gRPC's threads live in this process, and its handlers for fork() stop them.
        pid_t child = -1;
        EXPECT_EQ(::posix_spawn(&child, pointers[0], &files, nullptr, pointers.data(), environ), 0);
        posix_spawn_file_actions_destroy(&files);
        return child;
    }
};

TEST_F(WeftCaTest, HelpAndExitCodes) {
    const auto help = run({"--help"});
    EXPECT_EQ(help.code, 0);
    for (const char* word : {"init", "serve", "show", "rotate", "revoke", "token", "issue", "Exit codes"}) {
        EXPECT_NE(help.out.find(word), std::string::npos) << word;
    }
    EXPECT_EQ(run({"nonsense"}).code, 2);
    EXPECT_EQ(run({"show"}).code, 5) << "no authority yet";
    EXPECT_EQ(run({"init", "--trust-domain", "Not A Domain"}).code, 2);
    ASSERT_EQ(run({"init"}).code, 0);
    const auto again = run({"init"});
    EXPECT_EQ(again.code, 1);
    EXPECT_NE(again.err.find("there is an authority already"), std::string::npos) << again.err;
    EXPECT_EQ(run({"revoke", "00FF"}).code, 5);
    EXPECT_EQ(run({"revoke", "not-hex"}).code, 2);
    EXPECT_EQ(run({"issue", "https://web", "--out", files_.path("x")}).code, 2);
    EXPECT_EQ(run({"token", "create", "--node", "n1", "--life", "forever"}).code, 2);
    fs::permissions(folder(), fs::perms(0755));
    const auto open = run({"serve"});
    EXPECT_EQ(open.code, 4);
    EXPECT_NE(open.err.find("chmod 700"), std::string::npos) << open.err;
}

TEST_F(WeftCaTest, WorksOnTheFolderAndThroughTheServerAlike) {
    ASSERT_EQ(run({"init", "--trust-domain", "cluster.local"}).code, 0);
    for (const bool served : {false, true}) {
        if (served) {
            serve();
        }
        const auto state = run_json({"show"});
        EXPECT_EQ(state["trust_domain"], "cluster.local");
        EXPECT_EQ(state["roots"][0]["phase"], "signing");
        const auto token = run_json({"token", "create", "--node", "n1"});
        EXPECT_TRUE(token["token"].get<std::string>().starts_with("weft-join-"));
        EXPECT_EQ(token["fingerprint"], state["roots"][0]["fingerprint"]);
        const auto out = files_.path(served ? "served" : "direct");
        EXPECT_EQ(run({"issue", kWeb.to_string(), "--out", out}).code, 0);
        const auto source = identity::open_files_source(out);
        ASSERT_TRUE(source.has_value());
        EXPECT_TRUE((*source)->obtain(kWeb).has_value());
        EXPECT_TRUE(pki::read_private(out + "/tls.key").has_value()) << "mode 0600";
        const auto listed = run({"show", "certificates"});
        EXPECT_NE(listed.out.find(kWeb.to_string()), std::string::npos) << listed.out;
        EXPECT_EQ(run({"rotate", "publish"}).code, 0);
        EXPECT_EQ(run({"rotate", "publish"}).code, 1);
        EXPECT_EQ(run({"rotate", "switch"}).code, 0);
        const auto early = run({"rotate", "retire"});
        EXPECT_EQ(early.code, 1);
        EXPECT_NE(early.err.find("in use"), std::string::npos) << early.err;
        EXPECT_EQ(run({"revoke", kWeb.to_string()}).code, 0);
        EXPECT_NE(run({"show", "revocations"}).out.find(kWeb.to_string()), std::string::npos);
        EXPECT_EQ(run({"rotate", "retire"}).code, 0) << "what is revoked holds nobody up";
        EXPECT_EQ(run({"issue", kWeb.to_string(), "--out", out}).code, 4) << "revoked";
        EXPECT_EQ(run({"revoke", "--undo", kWeb.to_string()}).code, 0);
    }
    kill_server(SIGTERM);
    EXPECT_TRUE(WIFEXITED(server_status_) && WEXITSTATUS(server_status_) == 0);
    EXPECT_FALSE(fs::exists(folder() + "/admin.sock"));
}

TEST_F(WeftCaTest, ServerThatIsKilledWhileItSignsLosesNothing) {
    serve(); // makes the authority at first start
    const auto token = run_json({"token", "create", "--node", "n1"});
    files_.write("token", token["token"].get<std::string>());
    std::set<SpiffeId> wanted;
    for (int i = 0; i < 30; ++i) {
        const auto account = fmt::format("web{}", i);
        files_.write(fmt::format("manifests/{}.yaml", account), test::pod_yaml("n1", "shop", account), 0644);
        wanted.insert({"cluster.local", "shop", account});
    }
    auto source =
        identity::open_ca_source({fmt::format("127.0.0.1:{}", port_), "cluster.local", "n1", files_.path("state"),
                                  files_.path("token"), token["fingerprint"].get<std::string>()});
    ASSERT_TRUE(source.has_value()) << source.error().message();
    identity::KeeperOptions options;
    options.first_pause = std::chrono::milliseconds(20);
    options.longest_pause = std::chrono::milliseconds(200);
    identity::Keeper keeper(std::move(*source), nullptr, options);
    keeper.set_wanted(wanted);
    const identity::Rotator rotator(keeper);
    const auto ready = [&] {
        return std::ranges::count_if(keeper.states(),
                                     [](const auto& one) { return one.phase == identity::IdentityPhase::kValid; });
    };
    const auto why = [&] {
        return fmt::format(" of 30 are valid; {}; {}", fmt::join(keeper.troubles(), "; "),
                           keeper.states().back().last_error);
    };
    for (long enough = 1; enough < 30; enough += 10) {
        ASSERT_TRUE(eventually([&] { return ready() >= enough; })) << ready() << why();
        kill_server();
        serve();
    }
    EXPECT_TRUE(eventually([&] { return ready() == 30; })) << ready() << why();
    // Whatever a node holds is in the ledger, so it can be revoked.
    const auto state = run_json({"show"});
    std::set<std::string> known;
    for (const auto& one : state["certificates"]) {
        known.insert(one["serial"].get<std::string>());
    }
    for (const auto& one : keeper.states()) {
        EXPECT_TRUE(known.contains(one.serial)) << one.id.to_string();
    }
}

} // namespace
} // namespace weft::ca
