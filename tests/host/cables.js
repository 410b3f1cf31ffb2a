() => {
    const graph = window.app.graph, found = new Set(), context = document.createElement('canvas').getContext('2d')
    window.app.canvas.draw(true, true)
    context.lineWidth = 6
    const paths = []
    for (const link of graph.links.values()) {
        const name = `${graph.getNodeById(link.origin_id).title} > ${graph.getNodeById(link.target_id).title}`
        if (link.path) paths.push([name, link.path, [link.origin_id, link.target_id]])
    }
    for (const reroute of graph.reroutes?.values() ?? []) {
        const link = graph.links.get([...reroute.linkIds][0])
        if (reroute.path) paths.push([`${graph.getNodeById(link.origin_id).title} > ${graph.getNodeById(link.target_id).title}`, reroute.path, [link.origin_id, link.target_id]])
    }
    for (const node of graph.nodes) {
        const [left, top, width, height] = node.getBounding()
        for (const [name, path, ends] of paths) {
            const inset = ends.includes(node.id) ? 18 : 8 // the classic rendering draws slots 10 px inside a node
            for (let x = left + inset; x <= left + width - inset; x += 5)
                for (let y = top + 6; y <= top + height - 6; y += 5)
                    if (context.isPointInStroke(path, x, y)) { found.add(`${name} behind ${node.title}`); x = 1e9; break }
        }
    }
    return [paths.length, ...found]
}
