// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A lab whose certificates come from this test: shop/client on node-1 asks shop/api on node-2 again and again, and both
// are in the mesh and strict.
#pragma once

#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"
#include "tests/unit/identity/small_pki.hpp"

namespace weft::e2e {

inline const std::string kApi = "spiffe://cluster.local/ns/shop/sa/api";
inline const std::string kClient = "spiffe://cluster.local/ns/shop/sa/client";

class SourceLab : public ::testing::Test {
protected:
    SourceLab();
    ~SourceLab() override;

    /// Starts the lab with this setting of weftd, and the client.
    void bring_up(const std::string& setting);
    /// Ends the client; "N served, M failed".
    std::string load_ends();
    /// How many requests were served so far.
    [[nodiscard]] std::uint64_t served() const;
    /// Waits until some more are served.
    [[nodiscard]] bool goes_on() const;
    /// `weft status` of a node.
    [[nodiscard]] std::string status(const std::string& node) const;
    /// Both nodes use these certificates.
    [[nodiscard]] bool in_use(const identity::test::Material& api, const identity::test::Material& client) const;

    /// Is there for agents and pods alike.
    std::filesystem::path folder;
    identity::test::SmallPki pki;

private:
    std::unique_ptr<TestLab> lab_;
    std::future<std::string> load_;
};

} // namespace weft::e2e
