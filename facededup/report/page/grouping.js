/* Clusters at any threshold above the one they were found at.

   Each cluster comes with the order in which its members were merged, those first that decisions or groups of
   images hold together, at a height of infinity. Cut at a higher cosine, that tree gives the clusters a search
   at that threshold would. Members are positions in clusters.members; node k < n of a cluster is its k-th
   member, node n + k its k-th merger. */

const WHOLE = -1;

/* Groups at a cosine cut: {cluster, node}, node WHOLE for the cluster as it was found. */
function groupsAt(cut) {
  const groups = { cluster: [], node: [], size: [] };
  const add = (cluster, node, size) => {
    groups.cluster.push(cluster);
    groups.node.push(node);
    groups.size.push(size);
  };
  for (let cluster = 0; cluster < clusters.id.length; cluster++) {
    const start = clusters.offsets[cluster];
    const n = clusters.offsets[cluster + 1] - start;
    const tree = start - cluster;
    const all = clusters.imageOffsets[start + n] - clusters.imageOffsets[start];
    if (cut <= about.cosine_cut || n < 2 || Number.isNaN(clusters.height[tree]) || clusters.height[tree + n - 2] >= cut) {
      add(cluster, WHOLE, all);
      continue;
    }
    const sizes = new Array(2 * n - 1);
    const isPart = new Uint8Array(2 * n - 1);
    for (let member = 0; member < n; member++) {
      sizes[member] = clusters.imageOffsets[start + member + 1] - clusters.imageOffsets[start + member];
    }
    let merged = 0;
    for (; merged < n - 1 && clusters.height[tree + merged] >= cut; merged++) {
      const left = clusters.left[tree + merged];
      const right = clusters.right[tree + merged];
      sizes[n + merged] = sizes[left] + sizes[right];
      isPart[left] = isPart[right] = 1;
    }
    for (let node = 0; node < n + merged; node++) {
      if (!isPart[node] && sizes[node] > 1 && spansGroups(membersOf(cluster, node))) add(cluster, node, sizes[node]);
    }
  }
  return groups;
}

/* Images that are known to show one person are a cluster only together with others. */
function spansGroups(members) {
  if (images.group === null) return true;
  const first = images.group[memberImages(members[0])[0]];
  return members.some((member) => memberImages(member).some((image) => images.group[image] !== first));
}

/* The members of a group, in the order of the list. */
function membersOf(cluster, node) {
  const start = clusters.offsets[cluster];
  const n = clusters.offsets[cluster + 1] - start;
  if (node === WHOLE) return Array.from({ length: n }, (_, member) => start + member);
  const found = [];
  const open = [node];
  while (open.length) {
    const next = open.pop();
    if (next < n) found.push(start + next);
    else open.push(clusters.left[start - cluster + next - n], clusters.right[start - cluster + next - n]);
  }
  return found.sort((a, b) => a - b);
}

/* Lowest and mean cosine of a group, the two members of its weakest link (null where not known), its medoid. */
function shapeOf(cluster, node) {
  const start = clusters.offsets[cluster];
  const n = clusters.offsets[cluster + 1] - start;
  const tree = start - cluster;
  const hasTree = n > 1 && !Number.isNaN(clusters.height[tree]);
  const medoid = () => membersOf(cluster, node).find((member) => clusters.members[member] === clusters.medoid[cluster]);
  if (n === 1 || (node !== WHOLE && node < n)) return { lowest: 1, mean: 1, weakest: null, medoid: start + Math.max(node, 0) };
  const row = tree + (node === WHOLE ? n - 2 : node - n);
  const weakest = hasTree ? [start + clusters.weakest[2 * row], start + clusters.weakest[2 * row + 1]] : null;
  return {
    lowest: node === WHOLE ? clusters.lowest[cluster] : clusters.treeLowest[row],
    mean: node === WHOLE ? clusters.mean[cluster] : clusters.treeMean[row],
    weakest, medoid: medoid() ?? membersOf(cluster, node)[0],
  };
}

const memberImages = (member) => clusters.images.subarray(clusters.imageOffsets[member], clusters.imageOffsets[member + 1]);
