import re

from synthctx_data.example import SPLITS
from synthctx_data.seeding import rng
from synthctx_data.world.entities import (
    BY_SUBJECT,
    GROUPS,
    KINDS,
    MAX_SIZE,
    RELATIONS,
    Families,
    make_world,
    numbered_worlds,
)


def test_there_are_enough_relations_of_varied_types() -> None:
    assert len(RELATIONS) >= 40
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


def test_families_divide_the_world_and_share_a_part_of_their_names() -> None:
    world = make_world(2048, "train", "test")
    families = Families(world, rng("families"))
    assert sorted(entity for family in families.all for entity in family) == list(range(2048))
    assert all(families.of[entity] is family for family in families.all for entity in family)
    for family in families.all:
        assert len(family) <= 5
        assert len({world.entities[entity].kind for entity in family}) == 1
        assert set.intersection(*(set(world.entities[entity].parts) for entity in family))
    assert sum(len(family) > 2 for family in families.all) > len(families.all) / 2


def test_nobody_dies_before_the_wedding() -> None:
    """Dates and years of one entity are in the order of life."""
    orders = (
        ("birth_date", "wedding_date", "death_date"),
        ("filming_date", "release_date", "revival_date"),
        ("founding_year", "moving_year", "listing_year"),
    )
    for objects in make_world(400, "validation", "test").objects:
        for order in orders:
            years = [int(objects[name].split()[-1]) for name in order if name in objects]
            assert years == sorted(set(years))
            assert all(1800 < year < 2026 for year in years)


def test_the_relations_of_a_group_have_objects_of_one_type() -> None:
    for kind, groups in GROUPS.items():
        assert sum(map(len, groups)) == len(BY_SUBJECT[kind])
        for group in groups:
            assert len(group) >= 3
            assert len({relation.object for relation in group}) == 1


def test_a_world_of_little_variety_shares_its_numbers() -> None:
    world = make_world(512, "train", "test", variety=6)
    for name in ("founding_year", "episodes", "population", "birth_date"):
        values = [objects[name] for objects in world.objects if name in objects]
        assert len(set(values)) <= 36 < len(values)


def test_numbered_worlds_share_no_name() -> None:
    """Worlds with a number have names of their own: none of another world with one, of any world without, or of the other split."""
    most = numbered_worlds(1024, "train")
    assert (most + 16) * 1024 >= 1_000_000
    worlds = [
        make_world(1024, split, "test", number=number)
        for split, number in (("train", 0), ("train", 1), ("train", most - 1))
    ]
    worlds += [make_world(MAX_SIZE, split, "test") for split in SPLITS] + [
        make_world(1024, "validation", "test", number=0)
    ]
    names = [{entity.name for entity in world.entities} for world in worlds]
    assert sum(map(len, names)) == len(set().union(*names))
    assert all(make_world(1024, "train", "test", number=1).objects == worlds[1].objects for _ in range(2))
    with_kin = Families(worlds[0], rng("families")).all
    assert sum(len(family) > 2 for family in with_kin) > len(with_kin) / 2
