// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The store: ownership by file, last good versions, conflicts, and snapshots that share what did not change.
#include "agent/store/store.hpp"

#include <gtest/gtest.h>

namespace weft::store {
namespace {

std::string service(const std::string& name, const std::string& port) {
    return "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: " + name +
           "\n  namespace: shop\nspec:\n  ports:\n  - port: " + port + "\n";
}

void put(Store& store, const std::string& file, const std::string& text) {
    store.replace_file(file, k8s::parse_documents(text, file));
}

std::uint16_t port_of(const Snapshot& snapshot, const std::string& name) {
    const auto found = snapshot.services->find({"shop", name});
    return found == snapshot.services->end() ? std::uint16_t{0} : found->second->ports.at(0).port;
}

TEST(Store, PublishesWhatAFileDefinesAndDeletesWhatItDoesNotMentionAnyMore) {
    Store store;
    EXPECT_EQ(store.snapshot()->version, 0U);
    put(store, "a.yaml", service("web", "80") + service("api", "81"));
    const auto first = store.snapshot();
    EXPECT_EQ(first->version, 1U);
    EXPECT_EQ(first->services->size(), 2U);
    put(store, "a.yaml", service("api", "81"));
    const auto second = store.snapshot();
    EXPECT_EQ(second->version, 2U);
    EXPECT_EQ(port_of(*second, "web"), 0);
    EXPECT_EQ(port_of(*second, "api"), 81);
    EXPECT_EQ(port_of(*first, "web"), 80) << "an older snapshot never changes";
}

TEST(Store, KeepsAddressesOfUnchangedObjectsAndTables) {
    Store store;
    put(store, "a.yaml", service("web", "80") + service("api", "81"));
    k8s::Namespace shop;
    shop.meta.name = "shop";
    store.upsert(shop);
    const auto first = store.snapshot();
    put(store, "a.yaml", "# a comment moves every line\n" + service("web", "80") + service("api", "82"));
    const auto second = store.snapshot();
    EXPECT_EQ(first->services->at({"shop", "web"}), second->services->at({"shop", "web"}));
    EXPECT_NE(first->services->at({"shop", "api"}), second->services->at({"shop", "api"}));
    EXPECT_EQ(first->namespaces, second->namespaces);
    EXPECT_EQ(first->pods, second->pods);
    EXPECT_NE(first->services, second->services);
}

TEST(Store, NothingNewGivesTheSameSnapshot) {
    Store store;
    put(store, "a.yaml", service("web", "80"));
    const auto first = store.snapshot();
    put(store, "a.yaml", "\n\n" + service("web", "80"));
    EXPECT_EQ(store.snapshot(), first);
    store.remove_file("a.yaml");
    put(store, "renamed.yaml", service("web", "80"));
    EXPECT_EQ(store.snapshot(), first) << "gone and back between two snapshots is no change";
    put(store, "renamed.yaml", service("web", "81"));
    put(store, "renamed.yaml", service("web", "80"));
    EXPECT_EQ(store.snapshot(), first);
}

TEST(Store, RefusedObjectKeepsItsLastGoodVersionUntilItDisappears) {
    Store store;
    put(store, "a.yaml", service("web", "80") + service("api", "81"));
    put(store, "a.yaml", service("web", "99999") + service("api", "82"));
    auto snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 80);
    EXPECT_EQ(port_of(*snapshot, "api"), 82);
    ASSERT_EQ(snapshot->refusals->size(), 1U);
    EXPECT_TRUE(snapshot->refusals->at(0).last_good_in_force);
    EXPECT_EQ(snapshot->refusals->at(0).field, "spec.ports[0].port");
    put(store, "a.yaml", service("api", "82"));
    snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 0);
    EXPECT_TRUE(snapshot->refusals->empty());
}

TEST(Store, RefusedObjectThatNeverWasGoodIsNotInForce) {
    Store store;
    put(store, "a.yaml", service("web", "0"));
    const auto snapshot = store.snapshot();
    EXPECT_EQ(snapshot->version, 1U) << "a refusal alone is news, too";
    ASSERT_EQ(snapshot->refusals->size(), 1U);
    EXPECT_FALSE(snapshot->refusals->at(0).last_good_in_force);
}

TEST(Store, UnreadableDocumentKeepsEverythingThatTheFileDefined) {
    Store store;
    put(store, "a.yaml", service("web", "80") + service("api", "81"));
    put(store, "a.yaml", service("api", "82") + "---\nkind: [half");
    auto snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 80);
    EXPECT_EQ(port_of(*snapshot, "api"), 82);
    ASSERT_EQ(snapshot->refusals->size(), 1U);
    EXPECT_TRUE(snapshot->refusals->at(0).last_good_in_force);
    store.remove_file("a.yaml");
    snapshot = store.snapshot();
    EXPECT_TRUE(snapshot->services->empty());
    EXPECT_TRUE(snapshot->refusals->empty());
}

TEST(Store, FirstFileByNameWinsAndTheOtherIsRefusedWithBothOrigins) {
    Store store;
    put(store, "b.yaml", service("web", "80"));
    EXPECT_EQ(port_of(*store.snapshot(), "web"), 80);
    put(store, "a.yaml", "\n" + service("web", "81"));
    auto snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 81);
    ASSERT_EQ(snapshot->refusals->size(), 1U);
    EXPECT_EQ(snapshot->refusals->at(0).origin.file, "b.yaml");
    EXPECT_NE(snapshot->refusals->at(0).message.find("a.yaml:3"), std::string::npos)
        << snapshot->refusals->at(0).message;
    store.remove_file("a.yaml");
    snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 80);
    EXPECT_TRUE(snapshot->refusals->empty());
}

TEST(Store, ApiServerIsInForceOverFiles) {
    Store store;
    put(store, "a.yaml", service("web", "80"));
    auto from_api = k8s::parse_documents(service("web", "90"), "api");
    store.upsert(from_api.objects.at(0));
    auto snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 90);
    ASSERT_EQ(snapshot->refusals->size(), 1U);
    EXPECT_EQ(snapshot->refusals->at(0).origin.file, "a.yaml");
    store.remove({"Service", "shop", "web"});
    snapshot = store.snapshot();
    EXPECT_EQ(port_of(*snapshot, "web"), 80);
    EXPECT_TRUE(snapshot->refusals->empty());
    store.remove({"Service", "shop", "web"});
    EXPECT_EQ(store.snapshot(), snapshot);
}

TEST(Store, EndpointsComeAndGo) {
    Store store;
    LocalEndpoint endpoint;
    endpoint.container_id = "c1";
    endpoint.pod_name = "web-0";
    store.set_endpoint(endpoint);
    const auto first = store.snapshot();
    EXPECT_EQ(first->endpoints->at("c1"), endpoint);
    store.set_endpoint(endpoint);
    EXPECT_EQ(store.snapshot(), first);
    store.remove_endpoint("unknown");
    EXPECT_EQ(store.snapshot(), first);
    store.remove_endpoint("c1");
    EXPECT_TRUE(store.snapshot()->endpoints->empty());
    EXPECT_EQ(store.snapshot()->version, first->version + 1);
}

} // namespace
} // namespace weft::store
