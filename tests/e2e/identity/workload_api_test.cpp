// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificates from a server of the SPIFFE Workload API that rotates them, goes away and comes back.
#include "tests/e2e/identity/source_lab.hpp"
#include "tests/unit/identity/api_server.hpp"

namespace weft::e2e {
namespace {

using identity::test::ApiServer;
using identity::test::Material;

class WorkloadApi : public SourceLab {
protected:
    /// Pushes both identities.
    void give(ApiServer& server, const Material& api, const Material& client) const {
        X509SVIDResponse answer;
        for (const auto& [id, material] : {std::pair(&kApi, &api), std::pair(&kClient, &client)}) {
            auto& one = *answer.add_svids();
            one.set_spiffe_id(*id);
            one.set_x509_svid(material->chain_der());
            one.set_x509_svid_key(material->key_der());
            one.set_bundle(pki.root_der());
        }
        server.give(std::move(answer));
    }
};

TEST_F(WorkloadApi, RotatesAndOutlivesItsServer) {
    ApiServer server((folder / "api.sock").string());
    const auto api = pki.issue(kApi);
    const auto client = pki.issue(kClient);
    give(server, api, client);
    bring_up("workload_api=unix://" + (folder / "api.sock").string());
    EXPECT_TRUE(in_use(api, client)) << status("node-2");

    const auto next_api = pki.issue(kApi);
    const auto next_client = pki.issue(kClient);
    give(server, next_api, next_client);
    EXPECT_TRUE(in_use(next_api, next_client)) << status("node-2");
    EXPECT_TRUE(goes_on());

    server.stop();
    EXPECT_TRUE(eventually([&] { return status("node-2").find("api.sock") != std::string::npos; }, 60))
        << status("node-2");
    EXPECT_TRUE(goes_on()) << "what it gave stays valid";

    const auto last_api = pki.issue(kApi);
    const auto last_client = pki.issue(kClient);
    give(server, last_api, last_client);
    server.start();
    EXPECT_TRUE(in_use(last_api, last_client)) << status("node-2");
    EXPECT_TRUE(goes_on());
    EXPECT_EQ(load_ends(), "0 failed\n");
}

} // namespace
} // namespace weft::e2e
