// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificates from files, as cert-manager writes them and Kubernetes swaps them.
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/e2e/identity/source_lab.hpp"

namespace weft::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Files : public SourceLab {
protected:
    /// One mounted Secret: tls.crt and its likes are links into ..data, a link that is swapped whole.
    void mount(const std::string& name, const std::string& crt, const std::string& key) {
        const auto top = folder / "certs" / name;
        const auto version = fmt::format("..version-{}", ++versions_);
        fs::create_directories(top / version);
        std::ofstream(top / version / "tls.crt") << crt;
        std::ofstream(top / version / "tls.key") << key;
        std::ofstream(top / version / "ca.crt") << pki.root_pem();
        fs::create_symlink(version, top / "..data_tmp");
        fs::rename(top / "..data_tmp", top / "..data");
        for (const std::string file : {"tls.crt", "tls.key", "ca.crt"}) {
            if (!fs::is_symlink(top / file)) {
                fs::create_symlink("..data/" + file, top / file);
            }
        }
    }
    void mount(const std::string& name, const identity::test::Material& material) {
        mount(name, material.chain_pem(), material.key_pem());
    }

private:
    int versions_ = 0;
};

TEST_F(Files, RenewedOnesAreTakenAndBrokenOnesLeaveTheLastGood) {
    const auto api = pki.issue(kApi);
    const auto client = pki.issue(kClient);
    mount("api", api);
    mount("client", client);
    bring_up("identity_files=" + (folder / "certs").string());
    EXPECT_TRUE(in_use(api, client)) << status("node-2");

    const auto next_api = pki.issue(kApi);
    const auto next_client = pki.issue(kClient);
    mount("api", next_api);
    mount("client", next_client);
    EXPECT_TRUE(in_use(next_api, next_client)) << status("node-2");
    EXPECT_TRUE(goes_on());

    mount("api", pki.issue(kApi).chain_pem(), pki.issue(kApi).key_pem());
    EXPECT_TRUE(eventually([&] { return status("node-2").find("tls.key is not its key") != std::string::npos; }, 60))
        << status("node-2");
    EXPECT_THAT(status("node-2"), HasSubstr(next_api.serial())) << "the last good one stays";
    EXPECT_TRUE(goes_on());

    const auto last = pki.issue(kApi);
    mount("api", last);
    EXPECT_TRUE(in_use(last, next_client)) << status("node-2");
    EXPECT_TRUE(eventually([&] { return status("node-2").find("is not its key") == std::string::npos; }, 60));
    EXPECT_TRUE(goes_on());
    EXPECT_EQ(load_ends(), "0 failed\n");
}

} // namespace
} // namespace weft::e2e
