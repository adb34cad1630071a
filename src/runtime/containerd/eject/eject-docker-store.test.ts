import assert from "node:assert/strict";
import { test } from "node:test";
import { dockerRuntimes } from "../../../../test/support/runtimes/docker-fleet.ts";
import { eject } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
} from "../../../../test/support/runtimes/injection.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { dockerNamespace } from "../containerd-node.ts";

const ownName = "user/own:v1";
const runtime = (await dockerRuntimes()).find(({ store }) => store === "containerd");

test("an image that docker tag has named stays, and outlasts the disk", {
  skip: runtime === undefined ? "needs Docker with the containerd store" : (runtime.reason ?? false),
}, async () => {
  assert.ok(runtime !== undefined);
  await using scope = new AsyncDisposableStack();
  const docker = await runtime.start(scope, { store: "containerd" });
  const node = await openTestNode(scope, docker.containerd, dockerNamespace);
  const images = await makeInjectionImages(scope);
  const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
  await injectPath(node, path);
  await docker.docker("tag", appName, ownName);
  await assert.rejects(eject(node), (error) => {
    assert.ok(isRuntimeError(error, "failed-precondition"));
    assert.match(error.message, / by image docker\.io\/user\/own:v1;/);
    return true;
  });
  assert.equal(await docker.run(appName), "variant 1\n");
  const { disks } = await eject(node, { materialize: true });
  assert.deepEqual(disks, [{ id, isReleased: true, heldBy: [], removedImages: 2, materialized: 1 }]);
  assert.equal(await docker.run(ownName), "variant 1\n");
  await docker.docker("save", "--output", `${docker.dataRoot}/own.tar`, ownName);
  const records = await node.in.images.list();
  assert.doesNotMatch(JSON.stringify(records), /nodewarm/);
  await docker.docker("rmi", ownName);
});
