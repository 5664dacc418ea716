import re

from synthctx_data.world.entities import KINDS, MAX_SIZE, RELATIONS, make_world


def test_there_are_enough_relations_of_varied_types() -> None:
    assert len(RELATIONS) >= 12
    assert len({relation.object for relation in RELATIONS}) >= 6
    assert all(re.compile(relation.asks) for relation in RELATIONS)


def test_a_world_is_closed_and_of_its_size() -> None:
    world = make_world(400, "train", "test")
    names = {kind: {world.entities[i].name for i in members} for kind, members in world.by_kind.items()}
    assert {kind: len(members) for kind, members in names.items()} == dict.fromkeys(KINDS, 100)
    for entity, objects in zip(world.entities, world.objects, strict=True):
        relations = [relation for relation in RELATIONS if relation.subject == entity.kind]
        assert list(objects) == [relation.name for relation in relations]
        for relation in relations:
            assert objects[relation.name] != entity.name
            if relation.object in KINDS:
                assert objects[relation.name] in names[relation.object]


def test_the_largest_world_has_all_its_names_and_shares_none_with_the_other_split() -> None:
    train, validation = (make_world(MAX_SIZE, split, "test") for split in ("train", "validation"))
    mine, theirs = ({entity.name for entity in world.entities} for world in (train, validation))
    assert len(mine) == len(theirs) == MAX_SIZE
    assert not mine & theirs


def test_namesakes_share_a_part_of_the_name() -> None:
    world = make_world(2048, "train", "test")
    found = 0
    for i, entity in enumerate(world.entities):
        for other in world.namesakes(i):
            found += 1
            assert other != i
            assert world.entities[other].kind == entity.kind
            assert set(world.entities[other].parts) & set(entity.parts)
    assert found > len(world.entities)
