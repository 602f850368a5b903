// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is what `make install` puts into place complete, and does it fit together? Run from the top of the source tree.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/agent_world.hpp"

namespace weft::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string read(const fs::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

lab::Finished run(const std::vector<std::string>& argv, int timeout_ms = 60000) {
    auto done = lab::run_captured({.argv = argv}, timeout_ms);
    return done ? std::move(*done) : lab::Finished{.exit_code = -1, .error_output = done.error().message()};
}

std::set<std::string> all_matches(const std::string& text, const char* pattern) {
    std::set<std::string> found;
    const std::regex regex(pattern);
    for (auto match = std::sregex_iterator(text.begin(), text.end(), regex); match != std::sregex_iterator(); ++match) {
        found.insert((*match)[1]);
    }
    return found;
}

class Install : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        root_ = fs::temp_directory_path() / fmt::format("weft-install-{}", ::getpid());
        const auto out = fs::read_symlink("/proc/self/exe").parent_path().parent_path();
        const auto kind = out.filename().string();
        installed_ =
            run({"make", "--no-print-directory", "install", "DESTDIR=" + root_.string(), "PREFIX=/usr",
                 "BUILD=" + fs::relative(out.parent_path()).string(), "SANITIZE=" + (kind == "release" ? "" : kind)},
                600000);
    }
    static void TearDownTestSuite() { fs::remove_all(root_); }
    void SetUp() override { ASSERT_EQ(installed_.exit_code, 0) << installed_.output << installed_.error_output; }

    static inline fs::path root_;
    static inline lab::Finished installed_;
};

TEST_F(Install, ProgramsRunAndTheUnitRefersToThem) {
    const auto unit = read(root_ / "usr/lib/systemd/system/weftd.service");
    const auto programs = all_matches(unit, "ExecStart(?:Pre)?=(\\S+)");
    ASSERT_FALSE(programs.empty());
    for (const auto& program : programs) {
        EXPECT_EQ(run({root_.string() + program, "--version"}).exit_code, 0) << program;
    }
    for (const auto& config : all_matches(unit, "--config (\\S+)")) {
        // The folder that it names is on the target, not here.
        const auto installed = read(root_.string() + config);
        const auto manifests = all_matches(installed, "manifests: (\\S+)");
        ASSERT_EQ(manifests.size(), 1U) << config;
        EXPECT_TRUE(fs::is_directory(root_.string() + *manifests.begin()));
        EXPECT_EQ(run({root_ / "usr/bin/weftd", "--config", root_.string() + config, "--check-config"}).exit_code, 0);
    }
    EXPECT_THAT(run({root_ / "usr/bin/weft", "version", "--client"}).output, HasSubstr(WEFT_VERSION));
    EXPECT_THAT(run({root_ / "opt/cni/bin/weft-cni"}).output, HasSubstr("CNI_COMMAND"));
}

TEST_F(Install, ManualsHaveNoFaultAndNameEveryOption) {
    for (const char* page : {"man1/weft.1", "man8/weftd.8", "man8/weft-cni.8"}) {
        const auto linted = run({"mandoc", "-T", "lint", "-W", "warning", root_ / "usr/share/man" / page});
        EXPECT_EQ(linted.exit_code, 0) << linted.output << linted.error_output;
    }
    const auto help = run({root_ / "usr/bin/weftd", "--help"}).output;
    EXPECT_EQ(all_matches(read(root_ / "usr/share/man/man8/weftd.8"), "\\.It Fl -([a-z-]+)"),
              all_matches(help, "\n  --([a-z-]+)"));
    const auto commands =
        all_matches(run({root_ / "usr/bin/weft", "--help"}).output, "\n  ([a-z]+)(?:, [a-z]+)?  +[A-Z]");
    const auto manual = all_matches(read(root_ / "usr/share/man/man1/weft.1"), "\\.It Cm ([a-z]+)");
    EXPECT_EQ(manual, commands);
}

TEST_F(Install, CompletionIsBash) {
    const auto script = root_ / "usr/share/bash-completion/completions/weft";
    EXPECT_EQ(run({"bash", "-n", script}).exit_code, 0);
    EXPECT_THAT(run({"bash", "-c", "source " + script.string() + " && complete -p weft"}).output, HasSubstr("weft"));
}

TEST_F(Install, UninstallRemovesItButNotTheConfiguration) {
    const auto again = root_.string() + "-again";
    fs::copy(root_, again, fs::copy_options::recursive);
    const auto done = run({"make", "--no-print-directory", "uninstall", "DESTDIR=" + again, "PREFIX=/usr"});
    EXPECT_EQ(done.exit_code, 0) << done.error_output;
    std::set<std::string> left;
    for (const auto& entry : fs::recursive_directory_iterator(again)) {
        if (entry.is_regular_file()) {
            left.insert(fs::relative(entry.path(), again).string());
        }
    }
    fs::remove_all(again);
    EXPECT_EQ(left, std::set<std::string>{"etc/weft/weftd.yaml"});
}

} // namespace
} // namespace weft::test
