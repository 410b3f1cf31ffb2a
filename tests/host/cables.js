() => {
    const graph = window.app.graph, found = new Set(), context = document.createElement('canvas').getContext('2d')
    window.app.canvas.draw(true, true)
    context.lineWidth = 6
    const paths = []
    for (const link of graph.links.values()) {
        const name = `${graph.getNodeById(link.origin_id).title} > ${graph.getNodeById(link.target_id).title}`
        if (link.path) paths.push([name, link.path])
    }
    for (const reroute of graph.reroutes?.values() ?? []) {
        const link = graph.links.get([...reroute.linkIds][0])
        if (reroute.path) paths.push([`${graph.getNodeById(link.origin_id).title} > ${graph.getNodeById(link.target_id).title}`, reroute.path])
    }
    for (const node of graph.nodes) {
        const [left, top, width, height] = node.getBounding()
        for (const [name, path] of paths)
            for (let x = left + 8; x <= left + width - 8; x += 5)
                for (let y = top + 6; y <= top + height - 6; y += 5)
                    if (context.isPointInStroke(path, x, y)) { found.add(`${name} behind ${node.title}`); x = 1e9; break }
    }
    return [paths.length, ...found]
}
