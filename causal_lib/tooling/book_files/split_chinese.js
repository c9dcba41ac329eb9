/* Splits a query as the index of the Chinese book was split: Latin words, and pairs of neighbouring Chinese characters. */
function splitQuery(query) {
  const found = query.toLowerCase().match(/[a-z0-9_]+/g) || [];
  for (const run of query.match(/[\u4e00-\u9fff]+/g) || []) {
    for (let i = 0; i + 1 < run.length; i++) found.push(run.slice(i, i + 2));
  }
  return found;
}
